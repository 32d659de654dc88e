"""Paho against the hub: python suite.py SCENE CA_FILE MQTT_PORT WEBSOCKET_PORT MQTTS_PORT WSS_PORT

Each scene runs in MQTT 3.1, 3.1.1 and 5, over TCP, WebSocket, TLS and WebSocket over TLS, and ends with a traceback if
anything differs.
"""

import json
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 20
VERSIONS = {"31": mqtt.MQTTv31, "311": mqtt.MQTTv311, "5": mqtt.MQTTv5}


class Person:
    """A connected client whose events are taken one at a time."""

    def __init__(self, way, user, device, *, clean=True, will=None):
        self.version, transport, port, authority = way
        five = self.version == mqtt.MQTTv5
        self.connected, self.subscribed = queue.Queue(), queue.Queue()
        self.messages, self.published = queue.Queue(), queue.Queue()
        options = {} if five else {"clean_session": clean}
        client = self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, device, protocol=self.version, transport=transport, **options
        )
        client.username_pw_set(user)
        client.ws_set_options(path="/mqtt")
        if authority:
            client.tls_set(ca_certs=authority)
        client.on_connect = lambda _c, _u, flags, reason, _p: self.connected.put((flags, reason))
        client.on_subscribe = lambda _c, _u, mid, reasons, _p: self.subscribed.put(reasons)
        client.on_message = lambda _c, _u, message: self.messages.put(message)
        client.on_publish = lambda _c, _u, mid, reason, properties: self.published.put((reason, properties))
        if will:
            client.will_set(*will)
        kept = Properties(PacketTypes.CONNECT) if five else None
        if five and not clean:
            kept.SessionExpiryInterval = 3600
        start = {"clean_start": clean, "properties": kept} if five else {}
        client.connect("127.0.0.1", port, keepalive=30, **start)
        client.loop_start()
        flags, reason = self.connected.get(timeout=PATIENCE)
        assert not reason.is_failure, reason
        self.session_present = flags.session_present

    def subscribe(self, topic, qos):
        self.client.subscribe(topic, qos)
        (reason,) = self.subscribed.get(timeout=PATIENCE)
        assert reason.value == qos, f"SUBACK for {topic}: {reason}"

    def publish(self, topic, payload, qos=1, retain=False, properties=None):
        self.client.publish(topic, payload, qos, retain, properties=properties)
        return self.published.get(timeout=PATIENCE)

    def receives(self):
        return self.messages.get(timeout=PATIENCE)

    def leaves(self):
        self.client.disconnect()
        self.client.loop_stop()

    def vanishes(self):
        self.client.loop_stop()
        self.client.socket().close()


def publish_and_subscribe(way, tag):
    bob, alice = Person(way, "bob", "bob-" + tag), Person(way, "alice", "alice-" + tag)
    bob.subscribe("房间/+", 2)
    for qos in (0, 1, 2):
        alice.publish("房间/" + tag, f"hi {qos}", qos)
        message = bob.receives()
        assert (message.topic, message.payload, message.qos) == ("房间/" + tag, b"hi %d" % qos, qos), message.payload
    big = bytes(range(256)) * 400
    alice.publish("房间/" + tag, big, 1)
    assert bob.receives().payload == big
    alice.leaves()
    bob.leaves()


def retained(way, tag):
    alice, topic = Person(way, "alice", "alice-" + tag), "news/" + tag
    alice.publish(topic, "old", 1, True)
    alice.publish(topic, "new", 1, True)
    bob = Person(way, "bob", "bob-" + tag)
    bob.subscribe(topic, 1)
    message = bob.receives()
    assert message.retain and message.payload == b"new", message.payload
    alice.publish(topic, None, 1, True)
    assert bob.receives().payload == b""
    carol = Person(way, "carol", "carol-" + tag)
    carol.subscribe(topic, 1)
    alice.publish(topic, "live", 1)
    message = carol.receives()
    assert not message.retain and message.payload == b"live", message.payload
    for person in (alice, bob, carol):
        person.leaves()


def will(way, tag):
    heir = Person(way, "heir", "heir-" + tag)
    heir.subscribe("wills/" + tag, 1)
    Person(way, "dora", "polite-" + tag, will=("wills/" + tag, "said goodbye", 1)).leaves()
    Person(way, "dora", "dora-" + tag, will=("wills/" + tag, "gone", 1)).vanishes()
    assert heir.receives().payload == b"gone"
    heir.leaves()


def kept_session(way, tag):
    bob = Person(way, "bob", "kept-" + tag, clean=False)
    bob.subscribe("room/" + tag, 2)
    bob.leaves()
    alice = Person(way, "alice", "alice-" + tag)
    for qos, text in ((1, "one"), (2, "two")):
        alice.publish("room/" + tag, text, qos)
    bob = Person(way, "bob", "kept-" + tag, clean=False)
    assert bob.session_present or bob.version == mqtt.MQTTv31
    assert [bob.receives().payload for _ in range(2)] == [b"one", b"two"]
    alice.leaves()
    bob.leaves()


def chat(way, tag):
    alice, bob = "alice" + tag, "bob" + tag
    watcher = Person(way, "watcher", "watcher-" + tag)
    watcher.subscribe("p/" + bob, 0)
    phone = Person(way, bob, "phone-" + tag)
    phone.subscribe(f"u/{bob}/inbox", 1)
    assert json.loads(watcher.receives().payload)["state"] == "online"
    sender = Person(way, alice, "sender-" + tag)
    for seq, text in ((1, "hi"), (2, "how are you? 😀")):
        sender.publish("dm/" + bob, text)
        seen = json.loads(phone.receives().payload)
        assert (seen["seq"], seen["body"], seen["from"]) == (seq, text, alice), seen
    for person in (watcher, phone, sender):
        person.leaves()


def mqtt5(way, tag):
    if way[0] != mqtt.MQTTv5:
        return
    alice, bob = "alice" + tag, "bob" + tag
    sender = Person(way, alice, "sender-" + tag)
    named = Properties(PacketTypes.PUBLISH)
    named.UserProperty = [("cmid", "c-1")]
    reason, receipt = sender.publish("dm/" + bob, "hi", properties=named)
    assert dict(receipt.UserProperty)["seq"] == "1", receipt
    reason, receipt = sender.publish("dm/" + bob, "hi", properties=named)
    again = dict(receipt.UserProperty)
    assert again["seq"] == "1" and "dup" in again, receipt
    reason, _ = sender.publish("p/" + bob, "online")
    assert reason.value == 0x87, reason
    sender.subscribe(f"u/{alice}/reply/+", 1)
    call = Properties(PacketTypes.PUBLISH)
    call.ResponseTopic, call.CorrelationData = f"u/{alice}/reply/1", b"\x00\x01"
    sender.publish("rpc/history", json.dumps({"cid": f"{alice}~{bob}"}), properties=call)
    answer = sender.receives()
    assert answer.properties.CorrelationData == b"\x00\x01", answer.properties
    assert json.loads(answer.payload)["messages"][0]["body"] == "hi", answer.payload
    sender.leaves()


if __name__ == "__main__":
    scene, authority, ports = globals()[sys.argv[1]], sys.argv[2], [int(port) for port in sys.argv[3:]]
    doors = {"tcp": None, "websockets": None, "tls": authority, "wss": authority}
    for name, version in VERSIONS.items():
        for (door, trusted), port in zip(doors.items(), ports):
            print(scene.__name__, name, door, flush=True)
            transport = "tcp" if door in ("tcp", "tls") else "websockets"
            scene((version, transport, port, trusted), f"{name}-{door}")
