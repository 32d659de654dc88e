//! Shared subscriptions (MQTT 5 §4.8.2).

use std::collections::BTreeSet;

use crate::talk::{self, SINCE_311, Talk, all, five, versions};
use hubbub_tests::tool::eventually;
use hubbub_tests::wire::VERSIONS;
use hubbub_tests::{Client, Connect, Publish, Version};

#[test]
fn a_message_goes_to_one_member_of_a_group() {
    let mut talk = Talk::new(Version::V5);
    talk.goes(
        "b connects
         b subscribes <$share/g%/%/t> 01
         b subscribes <%/last> 00
         c connects
         c subscribes <$share/g%/%/t> 01
         c subscribes <%/last> 00
         other connects
         other subscribes <$share/h%/%/t> 01
         a connects",
    );
    for number in 1..=10 {
        talk.goes(&format!("a > 32 ~ <%/t> {number:04x} {{}} 'x' \n a < 40 02 {number:04x}"));
        talk.goes(&format!("other < 32 ~ <%/t> $o{number} {{}} 'x'"));
    }
    talk.goes("a > 30 ~ <%/last> {} 'last'");
    let mut counts = [0, 0];
    for (who, count) in ["b", "c"].iter().zip(&mut counts) {
        while talk.line(who).packet()[0] == 0x32 {
            *count += 1;
        }
    }
    assert_eq!(counts[0] + counts[1], 10, "{counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "both have their part: {counts:?}");
}

#[test]
fn a_member_is_sent_no_more_than_its_granted_quality() {
    all("b connects
         b subscribes <$share/g%/%/t> 00
         c persists
         c subscribes <$share/h%/%/t> 01
         a connects
         a > 34 ~ <%/t> 0001 {} 'x'
         b < 30 ~ <%/t> {} 'x'
         c < 32 ~ <%/t> $p {} 'x'");
}

#[test]
fn a_share_name_is_one_level_without_wildcards_and_a_filter_follows() {
    for filter in ["$share/g", "$share/g/", "$share//t", "$share/", "$share", "$share/g+/t", "$share/#/t"] {
        five(&format!("a connects \n a > 82 ~ 0001 {{}} <{filter}> 00 \n a < 90 ~ 0001 {{*}} 8f"));
    }
}

#[test]
fn a_message_in_flight_is_completed_by_the_member_that_comes_back() {
    five(
        "b persists
          b subscribes <$share/g%/%/t> 02
          a connects
          a > 34 ~ <%/t> 0001 {} 'x'
          b < 34 ~ <%/t> $p {} 'x'
          c persists
          c subscribes <$share/g%/%/t> 02
          b gone
          b resumes
          b < 3c ~ <%/t> $p {} 'x'
          b > 50 02 $p
          b < 62 02 $p
          b > 70 02 $p
          b quiet
          c quiet",
    );
}

#[test]
fn a_message_in_flight_at_qos_2_to_a_member_whose_session_ends_goes_to_nobody_else() {
    five(
        "b connects
          b subscribes <$share/g%/%/t> 02
          a connects
          a > 34 ~ <%/t> 0001 {} 'x'
          b < 34 ~ <%/t> $p {} 'x'
          c connects
          c subscribes <$share/g%/%/t> 02
          b > e0 00
          b closed
          a > 34 ~ <%/t> 0002 {} 'next'
          c < 34 ~ <%/t> $q {} 'next'
          c quiet",
    );
}

#[test]
fn a_message_that_a_member_refuses_goes_to_nobody_else() {
    for comes in ["connects", "persists"] {
        five(&format!(
            "b {comes}
             b subscribes <$share/g%/%/t> 02
             a connects
             a > 34 ~ <%/t> 0001 {{}} 'two'
             b < 34 ~ <%/t> $p {{}} 'two'
             a > 32 ~ <%/t> 0002 {{}} 'one'
             b < 32 ~ <%/t> $q {{}} 'one'
             c {comes}
             c subscribes <$share/g%/%/t> 02
             b > 50 ~ $p 80 ; 40 ~ $q 97 ; a2 ~ 0001 {{}} <$share/g%/%/t>
             b < b0 ~ 0001 {{}} 00
             a > 34 ~ <%/t> 0003 {{}} 'next'
             c < 34 ~ <%/t> $r {{}} 'next'
             c quiet"
        ));
    }
}

#[test]
fn retained_messages_are_not_sent_for_a_shared_subscription() {
    five(
        "a connects
          a > 31 ~ <%/t> {} 'x' ; c0 00
          a < d0 00
          b connects
          b subscribes <$share/g%/%/t> 00
          b quiet",
    );
}

#[test]
fn shared_and_plain_subscriptions_of_one_client_each_bring_a_copy() {
    let mut talk = Talk::new(Version::V5);
    talk.goes(
        "b connects
         b > 82 ~ 0001 {0b 07} <$share/g%/%/t> 00
         b < 90 ~ 0001 {} 00
         b > 82 ~ 0002 {0b 09} <%/t> 00
         b < 90 ~ 0002 {} 00
         a connects
         a > 30 ~ <%/t> {} 'x'",
    );
    let mut copies = [talk.line("b").packet(), talk.line("b").packet()];
    copies.sort();
    let identifiers = copies.map(|packet| packet[packet.len() - 4..].to_vec());
    assert_eq!(identifiers, [b"\x02\x0b\x07x", b"\x02\x0b\x09x"]);
    talk.goes(
        "b > a2 ~ 0003 {} <%/t>
         b < b0 ~ 0003 {} 00
         a > 30 ~ <%/t> {} 'y'
         b < 30 ~ <%/t> {0b 07} 'y'",
    );
}

#[test]
fn a_message_in_flight_at_qos_1_to_a_member_whose_session_ends_goes_to_another() {
    let ways = [
        ("connects", "b > e0 00 \n b closed"),
        ("connects", "b gone"),
        ("connects", "again > CONNECT 02 0000 {} <b%> \n again < 20 ~ 00 00 {*}"),
        ("persists", "b > e0 ~ 00 {11 00000000} \n b closed"),
        ("persists", "b gone \n again > CONNECT 02 0000 {} <b%> \n again < 20 ~ 00 00 {*}"),
        (
            "persists",
            "b gone \n b > CONNECT 00 0000 {} <b%> \n b < 20 ~ 01 00 {*} \n b < 3a ~ <%/t> $p {} 'x' \n b gone",
        ),
    ];
    for (comes, goes) in ways {
        for other in ["c connects", "c persists", "c@311 connects", "c@311 persists"] {
            let c = other.split(' ').next().unwrap();
            five(&format!(
                "b {comes}
                 b subscribes <$share/g%/%/t> 01
                 a connects
                 a > 32 ~ <%/t> 0001 {{}} 'x'
                 b < 32 ~ <%/t> $p {{}} 'x'
                 a < 40 02 0001
                 {other}
                 {c} subscribes <$share/g%/%/t> 02
                 {c} quiet
                 {goes}
                 {c} < 32 ~ <%/t> $q {{}} 'x'
                 {c} > 40 02 $q
                 {c} quiet"
            ));
        }
    }
}

#[test]
fn what_waited_for_a_member_whose_session_ends_goes_to_another_at_any_quality() {
    for (expiry, ends) in [("", "b gone"), ("11 00000e10", "b > e0 ~ 00 {11 00000000} \n b closed")] {
        for other in ["connects", "persists"] {
            five(&format!(
                "b > CONNECT 02 0000 {{{expiry} 21 0001}} <b%>
                 b < 20 ~ 00 00 {{*}}
                 b subscribes <$share/g%/%/t> 02
                 a connects
                 a > 34 ~ <%/t> 0001 {{}} 'in flight'
                 a > 34 ~ <%/t> 0002 {{}} 'two'
                 a > 32 ~ <%/t> 0003 {{}} 'three'
                 a < 50 02 0001
                 a < 50 02 0002
                 a < 40 02 0003
                 b < 34 ~ <%/t> $p {{}} 'in flight'
                 b quiet
                 c {other}
                 c subscribes <$share/g%/%/t> 02
                 {ends}
                 c < 34 ~ <%/t> $q {{}} 'two'
                 c < 32 ~ <%/t> $r {{}} 'three'
                 c quiet"
            ));
        }
    }
}

#[test]
fn what_a_member_has_acknowledged_is_given_to_nobody_when_it_goes() {
    for comes in ["connects", "persists"] {
        five(
            &format!(
                "d persists
             d subscribes <$share/g%/%/t> 01
             d > e0 00
             d closed
             b {comes}
             b subscribes <$share/g%/%/t> 01
             a connects
             a > 32 ~ <%/t> 0001 {{}} 'x'
             a < 40 02 0001
             b < 32 ~ <%/t> $p {{}} 'x'
             b > 40 02 $p
             b > e0 ~ 00 {{11 00000000}}
             b closed
             a > 32 ~ <%/t> 0002 {{}} 'next'
             a < 40 02 0002
             d resumes
             d < 32 ~ <%/t> $q {{}} 'next'
             d quiet"
            )
            .replace("{11 00000000}", if comes == "connects" { "{}" } else { "{11 00000000}" }),
        );
    }
}

#[test]
fn members_with_and_without_a_kept_session_of_all_versions_have_their_part() {
    let members = ["b@31", "c@311", "d@5", "e@31", "f@311", "g@5"];
    let mut talk = Talk::new(Version::V5);
    for (number, member) in members.iter().enumerate() {
        let comes = if number < 3 { "connects" } else { "persists" };
        talk.goes(&format!(
            "{member} {comes}
             {member} subscribes <$share/g%/%/t> 02
             {member} subscribes <%/last> 00"
        ));
    }
    talk.goes("a connects");
    for number in 1..=60u16 {
        let qos = number / 20 % 3;
        let id = if qos == 0 { String::new() } else { format!("{number:04x}") };
        talk.goes(&format!("a > {:02x} ~ <%/t> {id} {{}} 'x'", 0x30 | qos << 1));
        match qos {
            1 => drop(talk.goes(&format!("a < 40 02 {id}"))),
            2 => drop(talk.goes(&format!("a < 50 02 {id} \n a > 62 02 {id} \n a < 70 02 {id}"))),
            _ => {}
        }
    }
    talk.goes("a > 30 ~ <%/last> {} 'last'");
    let mut parts = Vec::new();
    for member in members {
        let mut part = [0; 3];
        loop {
            let packet = talk.line(member).packet();
            if packet.ends_with(b"last") {
                break;
            }
            part[usize::from(packet[0] >> 1 & 3)] += 1;
        }
        parts.push(part);
    }
    let sum = |qos: usize| parts.iter().map(|part| part[qos]).sum::<i32>();
    assert_eq!([sum(0), sum(1), sum(2)], [20; 3], "each message once: {parts:?}");
    assert!(parts.iter().flatten().all(|count| *count > 0), "{parts:?}");
}

#[test]
fn a_member_that_is_away_gets_what_comes_while_nobody_is_connected() {
    all("b persists
         b subscribes <$share/g%/%/t> 01
         c connects
         c subscribes <$share/g%/%/t> 01
         b > e0 00
         b closed
         a connects
         a > 32 ~ <%/t> 0001 {} '1'
         a > 32 ~ <%/t> 0002 {} '2'
         a < 40 02 0001
         a < 40 02 0002
         c < 32 ~ <%/t> $p {} '1'
         c > 40 02 $p
         c < 32 ~ <%/t> $q {} '2'
         c > 40 02 $q
         c > a2 ~ 0001 {} <$share/g%/%/t>
         c < b0 ~ 0001 {} [00]
         a > 32 ~ <%/t> 0003 {} '3'
         a < 40 02 0003
         b resumes
         b < 32 ~ <%/t> $r {} '3'
         b quiet
         c quiet");
}

#[test]
fn a_member_that_unsubscribes_completes_what_it_has() {
    for comes in ["connects", "persists"] {
        all(&format!(
            "b {comes}
             b subscribes <$share/g%/%/t> 02
             a connects
             a > 34 ~ <%/t> 0001 {{}} 'two'
             b < 34 ~ <%/t> $p {{}} 'two'
             a > 32 ~ <%/t> 0002 {{}} 'one'
             b < 32 ~ <%/t> $q {{}} 'one'
             c {comes}
             c subscribes <$share/g%/%/t> 02
             b > a2 ~ 0001 {{}} <$share/g%/%/t>
             b < b0 ~ 0001 {{}} [00]
             b > 50 02 $p ; 40 02 $q
             b < 62 02 $p
             b > 70 02 $p
             b quiet
             c quiet
             a > 32 ~ <%/t> 0003 {{}} 'next'
             c < 32 ~ <%/t> $r {{}} 'next'
             b quiet"
        ));
    }
}

/// One with a kept session that comes and goes, one without that is another one each time, one that subscribes anew.
#[test]
fn while_members_come_and_go_in_the_midst_of_messages_the_group_misses_none() {
    let hub = talk::hub();
    for version in VERSIONS {
        let mark = Talk::new(version).mark();
        let filter = format!("$share/g/{mark}");
        let member = |connect: Connect| {
            let mut member = hub.client(connect);
            member.subscribe(&filter, 1);
            member
        };
        let keeper = || Connect::new(version, format!("b{mark}")).persistent();
        let passer = |round: usize| Connect::new(version, format!("c{mark}/{round}"));
        let mut alice = hub.client(Connect::new(version, format!("a{mark}")));
        let mut members =
            [member(keeper()), member(passer(0)), member(Connect::new(version, format!("d{mark}")))];
        for round in 1..=12 {
            let message = |id: u16| Publish::new(&mark, format!("{round} {id}")).qos(1).id(id);
            let messages: Vec<Publish> = (1..=20).map(message).collect();
            alice.sends_all(&messages);
            match round % 3 {
                0 => {
                    let [kept, ..] = &mut members;
                    // What it took is taken, so that nobody has to take it again.
                    kept.pings();
                    *kept = if round % 2 == 0 { hub.client(keeper()) } else { member(keeper()) };
                }
                1 => members[1] = member(passer(round)),
                _ => {
                    members[2].unsubscribe(&filter);
                    members[2].subscribe(&filter, 1);
                }
            }
            alice.finishes_all(&messages);
            let said: BTreeSet<String> = messages.iter().map(Publish::text).collect();
            let mut heard = BTreeSet::new();
            eventually(&format!("all of {version:?}, round {round}"), || {
                for member in &mut members {
                    heard.extend(std::iter::from_fn(|| Some(Client::receives_if_any(member)?.text())));
                }
                heard.is_superset(&said)
            });
        }
    }
}

#[test]
fn a_message_that_is_too_large_for_a_member_goes_to_another() {
    five(
        "b > CONNECT 02 0000 {27 00000019} <b%>
         b < 20 ~ 00 00 {*}
         b subscribes <$share/g%/%/t> 01
         c connects
         c subscribes <$share/g%/%/t> 01
         a connects
         a > 32 ~ <%/t> 0001 {} 'a message of more than 25 bytes'
         c < 32 ~ <%/t> $p {} 'a message of more than 25 bytes'
         a > 32 ~ <%/t> 0002 {} 'another message of more than 25'
         c < 32 ~ <%/t> $q {} 'another message of more than 25'
         b quiet",
    );
}

#[test]
fn a_second_subscribe_changes_the_quality_and_not_the_part() {
    for comes in ["connects", "persists"] {
        all(&format!(
            "b {comes}
             b subscribes <$share/g%/%/t> 02
             b subscribes <$share/g%/%/t> 00
             a connects
             a > 34 ~ <%/t> 0001 {{}} 'x'
             b < 30 ~ <%/t> {{}} 'x'
             b subscribes <$share/g%/%/t> 01
             a > 34 ~ <%/t> 0002 {{}} 'y'
             b < 32 ~ <%/t> $p {{}} 'y'
             b quiet"
        ));
    }
}

#[test]
fn shared_and_plain_subscriptions_of_a_kept_session_each_bring_a_copy() {
    let mut talk = Talk::new(Version::V5);
    talk.goes(
        "b persists
         b > 82 ~ 0001 {0b 07} <$share/g%/%/t> 01 <$share/h%/%/t> 01
         b < 90 ~ 0001 {} 01 01
         b > 82 ~ 0002 {0b 09} <%/t> 02
         b < 90 ~ 0002 {} 02
         a connects
         a > 34 ~ <%/t> 0001 {} 'x'
         a < 50 02 0001",
    );
    let mut copies = [talk.line("b").packet(), talk.line("b").packet(), talk.line("b").packet()];
    copies.sort();
    let seen = copies.map(|packet| (packet[0], packet[packet.len() - 4..].to_vec()));
    let shared = (0x32, b"\x02\x0b\x07x".to_vec());
    assert_eq!(seen, [shared.clone(), shared, (0x34, b"\x02\x0b\x09x".to_vec())]);
    talk.goes("b quiet");
}

#[test]
fn when_the_last_member_is_gone_nobody_is_left() {
    let ways = [
        ("connects", "b > a2 ~ 0001 {} <%filter> \n b < b0 ~ 0001 {} 00"),
        ("connects", "b > e0 00 \n b closed"),
        ("persists", "b > a2 ~ 0001 {} <%filter> \n b < b0 ~ 0001 {} 00"),
        ("persists", "b > e0 ~ 00 {11 00000000} \n b closed"),
        ("persists", "b > e0 00 \n b closed \n b connects"),
    ];
    for (comes, goes) in ways {
        for filter in ["%/t", "%/+", "$share/g%/%/t", "$share/g%/%/+"] {
            let goes = goes.replace("%filter", filter);
            five(&format!(
                "b {comes}
                 b subscribes <{filter}> 00
                 b subscribes <{filter}> 02
                 b subscribes <{filter}> 01
                 a connects
                 a > 32 ~ <%/t> 0001 {{}} 'x'
                 a < 40 02 0001
                 b < 32 ~ <%/t> $p {{}} 'x'
                 b > 40 02 $p
                 {goes}
                 a > 32 ~ <%/t> 0002 {{}} 'y'
                 a < 40 ~ 0002 10"
            ));
        }
    }
}

#[test]
fn an_inbox_cannot_be_shared() {
    versions(
        SINCE_311,
        "a > CONNECT 82 0000 {} <a%> <alice%>
         a < 20 ~ 00 00 {*}
         a > 82 ~ 0001 {} <$share/g/u/alice%/inbox> 01
         a < 90 ~ 0001 {*} [9e](80)",
    );
}
