//! A message sent again under the same client message id is the same message.

use hubbub_tests::{Hub, Publish, message};
use serde_json::json;

#[test]
fn the_same_cmid_gets_the_first_answer_again_and_is_seen_once() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    let mut alice = hub.person("alice").arrives();
    let hi = Publish::new("dm/bob", "hi").qos(1).user("cmid", "c-1");
    let first = alice.publish(hi.clone());
    let second = alice.publish(hi);
    for field in ["cid", "seq", "mid", "ts"] {
        assert!(first.props.user(field).is_some(), "{field} in {first:?}");
        assert_eq!(first.props.user(field), second.props.user(field), "{field}");
    }
    assert_eq!(first.props.user("dup"), None, "{first:?}");
    assert!(second.props.user("dup").is_some(), "{second:?}");
    alice.says("bob", "next");
    bob.sees(message("hi").seq(1).with("cmid", "c-1".into()));
    bob.sees(message("next").seq(2));
}

#[test]
fn a_cmid_in_json_counts_as_well_over_kill_9_and_from_another_device() {
    let mut hub = Hub::start();
    let hi = json!({"body": "hi", "cmid": "c-1"}).to_string();
    let first = hub.person("alice").on("phone").arrives().says("bob", &hi);
    hub.kill9();
    hub.restart();
    let mut laptop = hub.person("alice").on("laptop").arrives();
    let second = laptop.says("bob", &hi);
    assert_eq!(first.props.user("mid"), second.props.user("mid"));
    assert!(second.props.user("dup").is_some(), "{second:?}");
    let next = laptop.says("bob", "next");
    assert_eq!(next.props.user("seq"), Some("2"), "{next:?}");
}

#[test]
fn the_same_cmid_of_another_user_is_another_message() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    for user in ["alice", "carol"] {
        let hi = Publish::new("dm/bob", "hi").qos(1).user("cmid", "c-1");
        assert_eq!(hub.person(user).arrives().publish(hi).props.user("dup"), None);
        bob.sees(message("hi").from(user).seq(1));
    }
}

#[test]
fn a_publish_with_dup_after_a_lost_acknowledgement_is_one_message() {
    let hub = Hub::start();
    let mut bob = hub.person("bob").arrives();
    let mut alice = hub.person("alice").keeping_the_session().arrives();
    let hi = Publish::new("dm/bob", "exactly once").qos(2).id(9);
    alice.send_publish(hi.clone());
    assert_eq!(alice.receipt(2, 9).code, 0);
    let mut alice = alice.vanishes().connects();
    // The client does not know about the PUBREC and sends again; nothing was released in between.
    alice.publish(hi.again());
    alice.says("bob", "next");
    bob.sees(message("exactly once").seq(1));
    bob.sees(message("next").seq(2));
}
