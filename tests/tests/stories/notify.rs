//! A push is sent only when no device took the message in time, and never twice.

use hubbub_tests::{Hub, Settings, WebhookSink, message};

#[test]
fn the_webhook_is_called_once_signed_for_somebody_who_is_away() {
    let (hub, webhook) = hub_that_calls(|settings| settings);
    let mut alice = hub.person("alice").arrives();
    let receipt = alice.says("bob", "are you there?");
    let call = webhook.is_called();
    assert_eq!(call.json["cid"], "alice~bob", "{}", call.text);
    assert_eq!(call.json["seq"], 1, "{}", call.text);
    assert_eq!(call.json["from"], "alice", "{}", call.text);
    assert_eq!(call.json["unread"], 1, "{}", call.text);
    assert_eq!(call.json["mid"].as_str(), receipt.props.user("mid"), "{}", call.text);
    assert!(!call.text.contains("are you there?"), "the text stays private by default: {}", call.text);
    // The next call is about the next message: the first one was not called for twice.
    alice.says("bob", "hello?");
    let call = webhook.is_called();
    assert_eq!((&call.json["seq"], &call.json["unread"]), (&2.into(), &2.into()), "{}", call.text);
    webhook.has_no_more_calls();
}

#[test]
fn nobody_is_called_when_a_device_took_the_message_in_time() {
    let (hub, webhook) = hub_that_calls(|settings| settings);
    let mut bob = hub.person("bob").keeping_the_session().arrives();
    let mut alice = hub.person("alice").arrives();
    alice.says("bob", "taken");
    bob.sees(message("taken").seq(1));
    // Asks for nothing more, but a PINGRESP says that the PUBACK before it was read.
    bob.pings();
    bob.leaves();
    alice.says("bob", "missed");
    let call = webhook.is_called();
    assert_eq!(call.json["seq"], 2, "{}", call.text);
    assert_eq!(call.json["unread"], 1, "{}", call.text);
}

#[test]
fn a_device_that_is_connected_but_does_not_acknowledge_counts_as_away() {
    let (hub, webhook) = hub_that_calls(|settings| settings);
    let mut bob = hub.person("bob").arrives();
    hub.person("alice").arrives().says("bob", "in the lift");
    let inbox = bob.inbox();
    bob.receives_on_without_ack(&inbox);
    assert_eq!(webhook.is_called().json["seq"], 1);
}

#[test]
fn the_text_is_in_the_call_if_the_setting_says_so() {
    let (hub, webhook) = hub_that_calls(|settings| settings.set("notify.include_body", "true"));
    hub.person("alice").arrives().says("bob", "are you there?");
    assert_eq!(webhook.is_called().json["body"], "are you there?");
}

#[test]
fn a_failed_call_is_tried_again_and_a_good_one_is_not() {
    let (hub, webhook) = hub_that_calls(|settings| settings);
    webhook.answers_with(&[500, 503, 200]);
    let mut alice = hub.person("alice").arrives();
    alice.says("bob", "one");
    for _ in 0..3 {
        assert_eq!(webhook.is_called().json["seq"], 1);
    }
    alice.says("bob", "two");
    assert_eq!(webhook.is_called().json["seq"], 2);
    webhook.has_no_more_calls();
}

#[test]
fn a_call_that_was_due_is_made_after_kill_9() {
    let (mut hub, webhook) = hub_that_calls(|settings| settings.set("notify.ack_timeout", "1500ms"));
    hub.person("alice").arrives().says("bob", "one");
    hub.kill9();
    hub.restart();
    assert_eq!(webhook.is_called().json["seq"], 1);
}

fn hub_that_calls(more: impl FnOnce(Settings) -> Settings) -> (Hub, WebhookSink) {
    let webhook = WebhookSink::start();
    let settings = Settings::dev()
        .set("notify.webhook", webhook.url())
        .set("notify.secret", WebhookSink::SECRET)
        .set("notify.ack_timeout", "500ms")
        .set("notify.retry_first", "50ms");
    (more(settings).start(), webhook)
}
