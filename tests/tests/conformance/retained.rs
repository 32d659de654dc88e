//! Retained messages (MQTT 5 §3.3.1.3, §3.8.3.1).

use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Connect, Publish};

use crate::talk::{self, Talk, all, five};

#[test]
fn the_last_retained_message_waits_for_new_subscribers() {
    all("a connects
         a > 31 ~ <%/t> {} 'first' ; 33 ~ <%/t> 0001 {} 'second'
         a < 40 02 0001
         b connects
         b subscribes <%/#> 02
         b < 33 ~ <%/t> $p {} 'second'
         b quiet
         c connects
         c subscribes <%/t> 00
         c < 31 ~ <%/t> {} 'second'");
}

/// Whether it comes as retained or as it is published.
#[test]
fn who_subscribes_in_the_midst_of_retained_messages_hears_the_last_one() {
    let hub = talk::hub();
    for (version, durable) in VERSIONS.into_iter().flat_map(|version| [(version, false), (version, true)]) {
        for (says, hears) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)] {
            let mark = Talk::new(version).mark();
            let bob = Connect::new(version, format!("b{mark}"));
            let mut bob = hub.client(if durable { bob.persistent() } else { bob });
            let mut alice = hub.client(Connect::new(version, format!("a{mark}")));
            for round in 0..20 {
                let topic = format!("{mark}/{round}");
                let message = |id: u16| Publish::new(&topic, format!("{id}")).qos(says).id(id).retained();
                let messages: Vec<Publish> = (1..=10).map(message).collect();
                alice.sends_all(&messages);
                bob.subscribe(&topic, hears);
                alice.finishes_all(&messages);
                while bob.receives_on(&topic).text() != "10" {}
            }
        }
    }
}

#[test]
fn a_retained_message_of_qos_2_keeps_its_quality() {
    all("a connects
         a > 35 ~ <%/t> 0001 {} 'x'
         a < 50 02 0001
         b connects
         b subscribes <%/t> 02
         b < 35 ~ <%/t> $p {} 'x'
         c connects
         c subscribes <%/t> 01
         c < 33 ~ <%/t> $q {} 'x'");
}

#[test]
fn a_retained_message_of_qos_0_replaces_the_one_before() {
    all("a connects
         a > 33 ~ <%/t> 0001 {} 'one'
         a < 40 02 0001
         a > 31 ~ <%/t> {} 'zero' ; c0 00
         a < d0 00
         b connects
         b subscribes <%/t> 01
         b < 31 ~ <%/t> {} 'zero'
         b quiet");
}

#[test]
fn an_empty_retained_message_is_delivered_and_clears() {
    all("a connects
         a > 31 ~ <%/t> {} 'x' ; c0 00
         a < d0 00
         b connects
         b subscribes <%/t> 01
         b < 31 ~ <%/t> {} 'x'
         a > 33 ~ <%/t> 0001 {}
         a < 40 02 0001
         b < 32 ~ <%/t> $p {}
         c connects
         c subscribes <%/t> 01
         c quiet");
}

#[test]
fn a_message_without_the_flag_is_not_kept_and_changes_nothing() {
    all("a connects
         a > 31 ~ <%/t> {} 'kept' ; 32 ~ <%/t> 0001 {} 'passing' ; 32 ~ <%/t> 0002 {} ; 32 ~ <%/u> 0003 {} 'x'
         a < 40 ~ 0001 [10]
         a < 40 ~ 0002 [10]
         a < 40 ~ 0003 [10]
         b connects
         b subscribes <%/#> 01
         b < 31 ~ <%/t> {} 'kept'
         b quiet");
}

#[test]
fn somebody_already_subscribed_does_not_see_the_flag() {
    for comes in ["connects", "persists"] {
        all(&format!(
            "b {comes}
             b subscribes <%/t> 01
             a connects
             a > 31 ~ <%/t> {{}} 'x' ; 33 ~ <%/t> 0001 {{}} 'y'
             b < 30 ~ <%/t> {{}} 'x'
             b < 32 ~ <%/t> $p {{}} 'y'"
        ));
    }
}

#[test]
fn retain_as_published_keeps_the_flag() {
    for comes in ["connects", "persists"] {
        five(&format!(
            "b {comes}
             b > 82 ~ 0001 {{}} <%/t> 09
             b < 90 ~ 0001 {{}} 01
             a connects
             a > 31 ~ <%/t> {{}} '0' ; 30 ~ <%/t> {{}} '1' ; 33 ~ <%/t> 0001 {{}} '2' ; 32 ~ <%/t> 0002 {{}} '3'
             b < 31 ~ <%/t> {{}} '0'
             b < 30 ~ <%/t> {{}} '1'
             b < 33 ~ <%/t> $p {{}} '2'
             b < 32 ~ <%/t> $q {{}} '3'"
        ));
    }
}

#[test]
fn what_is_sent_for_a_new_subscription_has_the_flag_whatever_retain_as_published_says() {
    for options in ["01", "09"] {
        five(&format!(
            "a connects
             a > 33 ~ <%/t> 0001 {{}} 'x'
             a < 40 02 0001
             b connects
             b > 82 ~ 0001 {{}} <%/t> {options}
             b < 90 ~ 0001 {{}} 01
             b < 33 ~ <%/t> $p {{}} 'x'"
        ));
    }
}

#[test]
fn retain_handling_0_sends_at_every_subscribe() {
    five(
        "a connects
          a > 31 ~ <%/t> {} 'x' ; c0 00
          a < d0 00
          b connects
          b subscribes <%/t> 00
          b < 31 ~ <%/t> {} 'x'
          b subscribes <%/t> 00
          b < 31 ~ <%/t> {} 'x'
          b quiet",
    );
}

#[test]
fn retain_handling_1_sends_for_a_new_subscription_only() {
    five(
        "a connects
          a > 31 ~ <%/t> {} 'x' ; c0 00
          a < d0 00
          b connects
          b > 82 ~ 0001 {} <%/t> 10
          b < 90 ~ 0001 {} 00
          b < 31 ~ <%/t> {} 'x'
          b > 82 ~ 0002 {} <%/t> 11
          b < 90 ~ 0002 {} 01
          b quiet
          b > a2 ~ 0003 {} <%/t>
          b < b0 ~ 0003 {} 00
          b > 82 ~ 0004 {} <%/t> 10
          b < 90 ~ 0004 {} 00
          b < 31 ~ <%/t> {} 'x'",
    );
}

#[test]
fn retain_handling_1_knows_the_subscriptions_of_a_resumed_session() {
    five(
        "a connects
          a > 31 ~ <%/t> {} 'x' ; c0 00
          a < d0 00
          b persists
          b > 82 ~ 0001 {} <%/t> 10
          b < 90 ~ 0001 {} 00
          b < 31 ~ <%/t> {} 'x'
          b gone
          b resumes
          b > 82 ~ 0001 {} <%/t> 10
          b < 90 ~ 0001 {} 00
          b quiet",
    );
}

#[test]
fn retain_handling_2_never_sends() {
    five(
        "a connects
          a > 31 ~ <%/t> {} 'x' ; c0 00
          a < d0 00
          b connects
          b > 82 ~ 0001 {} <%/t> 20
          b < 90 ~ 0001 {} 00
          b quiet
          a > 30 ~ <%/t> {} 'live'
          b < 30 ~ <%/t> {} 'live'",
    );
}

#[test]
fn a_resumed_session_is_not_sent_again_what_is_retained() {
    all("a connects
         a > 31 ~ <%/t> {} 'x' ; c0 00
         a < d0 00
         b persists
         b subscribes <%/t> 00
         b < 31 ~ <%/t> {} 'x'
         b gone
         b resumes
         b quiet");
}
