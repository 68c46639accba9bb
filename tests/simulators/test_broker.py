"""The embedded broker against other people's clients: paho (5.0 and 3.1.1), mosquitto_pub, mosquitto_sub."""

import asyncio
import queue
import shutil
import socket
import struct
import subprocess
import threading
import time
from contextlib import contextmanager

import paho.mqtt.client as mqtt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from simulators.broker import Broker, Malformed, Reader, is_filter, matches, varint
from simulators.cable import Cable

WAIT = 5.0  # s
VERSIONS = [MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311]


@contextmanager
def serving(*things):
    """Brokers and cables on an event loop in a thread; `do(coroutine)` runs something there."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(WAIT)

    try:
        for thing in things:
            do(thing.start())
        yield do
    finally:
        for thing in reversed(things):
            do(thing.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Peer:
    """A paho client whose messages and ends stand in queues."""

    def __init__(self, port, version=MQTTProtocolVersion.MQTTv5, name="", will=None, **options):
        self.got, self.connected, self.gone, self.acked = (queue.Queue() for _ in range(4))
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=version, **options)
        self.client.reconnect_delay_set(1, 1)
        if will:
            self.client.will_set(*will, qos=1)
        self.client.on_message = lambda c, u, m: self.got.put(m)
        self.client.on_connect = lambda c, u, f, reason, p: self.connected.put((reason, p))
        self.client.on_disconnect = lambda c, u, f, reason, p: self.gone.put(reason)
        self.client.on_publish = lambda c, u, mid, reason, p: self.acked.put(reason)
        self.subscribed = queue.Queue()
        self.client.on_subscribe = lambda c, u, mid, reasons, p: self.subscribed.put(reasons)
        self.client.connect("127.0.0.1", port, 5)
        self.client.loop_start()
        self.reason, self.properties = self.connected.get(timeout=WAIT)

    def listen(self, *args, **kwargs):
        self.client.subscribe(*args, **kwargs)
        return self.subscribed.get(timeout=WAIT)

    def heard(self, n):
        return [(m.topic, m.payload.decode()) for m in (self.got.get(timeout=WAIT) for _ in range(n))]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@pytest.fixture
def broker():
    broker = Broker()
    with serving(broker) as do:
        broker.do = do
        yield broker


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1])
def test_what_is_published_arrives_in_order_once(broker, version, qos):
    with Peer(broker.port, version) as sub, Peer(broker.port, version) as pub:
        sub.listen("mine/+/gas", 1)
        for i in range(500):
            pub.client.publish("mine/a/gas", str(i), qos)
        pub.client.publish("mine/a/b/gas", "too deep", qos)
        pub.client.publish("mine/z/gas", "end", qos)
        assert sub.heard(501) == [("mine/a/gas", str(i)) for i in range(500)] + [("mine/z/gas", "end")]
        assert sub.got.empty()


@pytest.mark.parametrize("version", VERSIONS)
def test_retained_messages_wait_for_the_newcomer_and_can_be_wiped(broker, version):
    with Peer(broker.port, version) as pub, Peer(broker.port, version) as early:
        early.listen("#", 1)
        for topic in ("alarm/a", "alarm/b"):
            pub.client.publish(topic, "on", 1, retain=True)
        pub.client.publish("alarm/a", b"", 1, retain=True).wait_for_publish(WAIT)
        live = [early.got.get(timeout=WAIT) for _ in range(3)]
        assert [m.retain for m in live] == [False] * 3
        with Peer(broker.port, version) as late:
            late.listen("alarm/#", 1)
            first = late.got.get(timeout=WAIT)
            assert (first.topic, first.payload, first.retain) == ("alarm/b", b"on", True)
            pub.client.publish("alarm/c", "x", 1)
            assert late.heard(1) == [("alarm/c", "x")]  # and alarm/a never came


def test_retain_handling_and_no_local_of_version_5(broker):
    with Peer(broker.port) as peer:
        peer.client.publish("t", "kept", 1, retain=True).wait_for_publish(WAIT)
        peer.listen("t", options=SubscribeOptions(qos=1, noLocal=True, retainHandling=2))
        peer.client.publish("t", "own", 1).wait_for_publish(WAIT)
        peer.listen("u", 1)
        peer.client.publish("u", "end", 1)
        assert peer.heard(1) == [("u", "end")]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_will_is_told_when_a_client_breaks_and_not_when_it_leaves(broker, version):
    with Peer(broker.port, version) as sub:
        sub.listen("state/#", 1)
        polite = Peer(broker.port, version, will=("state/polite", "gone"))
        polite.close()
        broken = Peer(broker.port, version, will=("state/broken", "gone"))
        broken.client.reconnect_delay_set(60, 60)
        broken.client.socket().shutdown(socket.SHUT_RDWR)
        assert sub.heard(1) == [("state/broken", "gone")]
        broken.close()


def test_version_5_learns_the_limits_and_properties_travel(broker):
    with Peer(broker.port) as sub, Peer(broker.port) as pub:
        assert pub.properties.ReceiveMaximum == broker.receive_maximum
        assert pub.properties.MaximumQoS == 1
        assert pub.properties.AssignedClientIdentifier
        sub.listen("t", 1)
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = ("schema", "1")
        properties.MessageExpiryInterval = 60
        pub.client.publish("t", "x", 1, properties=properties)
        message = sub.got.get(timeout=WAIT)
        assert message.properties.UserProperty == [("schema", "1")]
        assert message.properties.MessageExpiryInterval == 60


def test_a_small_receive_maximum_is_kept():
    """A bare client that grants two messages and confirms none gets two."""
    broker = Broker()
    with serving(broker), socket.create_connection(("127.0.0.1", broker.port), WAIT) as bare:
        bare.settimeout(WAIT)
        body = b"\0\4MQTT\5\2" + struct.pack(">H", 0) + b"\x03\x21\0\2" + b"\0\4bare"
        bare.sendall(b"\x10" + varint(len(body)) + body)
        bare.sendall(b"\x82\x07\0\1\0\0\1t\1")
        with Peer(broker.port) as pub:
            for i in range(5):
                pub.client.publish("t", str(i), 1).wait_for_publish(WAIT)
            pub.client.publish("u", "", 1).wait_for_publish(WAIT)
        bare.sendall(b"\xc0\0")
        received = b""
        while not received.endswith(b"\xd0\0"):  # the pong comes after everything that was sent
            received += bare.recv(4096)
        assert received.count(b"\0\1t") == 2
        number = received[received.index(b"\0\1t") + 3 :][:2]
        bare.sendall(b"\x40\2" + number + b"\xc0\0")
        received = b""
        while not received.endswith(b"\xd0\0"):
            received += bare.recv(4096)
        assert received.count(b"\0\1t") == 1  # one confirmed, one more


def test_a_second_client_of_the_same_name_takes_over(broker):
    first = Peer(broker.port, name="gw1")
    first.client.reconnect_delay_set(60, 60)
    with Peer(broker.port, name="gw1"):
        assert first.gone.get(timeout=WAIT).value == 0x8E
    first.close()


def test_a_silent_client_is_dropped_after_its_keep_alive():
    broker = Broker()
    with serving(broker), socket.create_connection(("127.0.0.1", broker.port), WAIT) as bare:
        bare.settimeout(WAIT)
        body = b"\0\4MQTT\4\2" + struct.pack(">H", 1) + b"\0\4mute"
        bare.sendall(b"\x10" + varint(len(body)) + body)
        assert bare.recv(4) == b"\x20\2\0\0"
        assert bare.recv(1) == b""  # closed after 1.5 s


def test_qos_2_and_shared_subscriptions_are_refused_in_words(broker):
    with Peer(broker.port) as peer:
        assert [r.value for r in peer.listen([("$share/g/t", 1), ("ok", 2)])] == [0x8F, 1]
    body = b"\0\1t\0\1\0x"
    with socket.create_connection(("127.0.0.1", broker.port), WAIT) as bare:
        bare.settimeout(WAIT)
        bare.sendall(b"\x10\x11\0\4MQTT\5\2\0\0\0\0\4bare" + b"\x34" + varint(len(body)) + body)
        received = b""
        while more := bare.recv(100):
            received += more
        assert received.endswith(b"\xe0\2\x9b\0")


def test_cut_and_heal(broker):
    with Peer(broker.port) as peer:
        broker.do(broker.cut())
        peer.gone.get(timeout=WAIT)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", broker.port), 1)
        broker.do(broker.heal())
        peer.connected.get(timeout=WAIT)
        peer.listen("t", 1)
        peer.client.publish("t", "back", 1)
        assert peer.heard(1) == [("t", "back")]


@pytest.mark.parametrize("silent", [False, True])
def test_a_cable_between_client_and_broker(silent):
    broker = Broker()
    with serving(broker) as do:
        cable = Cable(broker.host, broker.port)
        do(cable.start())
        with Peer(broker.port) as console:
            console.listen("t", 1)
            peer = Peer(cable.port)
            peer.client.publish("t", "before", 1)
            assert console.heard(1) == [("t", "before")]
            do(cable.cut(silent))
            assert not cable.whole
            peer.client.publish("t", "held", 1)
            if not silent:
                peer.gone.get(timeout=WAIT)
            with pytest.raises(queue.Empty):
                console.got.get(timeout=0.3)
            do(cable.heal())
            assert console.heard(1) == [("t", "held")]
            peer.close()
        do(cable.stop())


@given(st.binary(max_size=200))
@example(bytes.fromhex("10ffffffff7f"))
@example(b"\x10\x0c\0\4MQTT\4\2\0\0\0\0" + b"\x30\x03\0\xff\xff")
@example(b"\x10\x0d\0\4MQTT\5\2\0\0\xff\0\0")
@example(b"\x10\x0c\0\4MQTT\4\2\0\0\0\0" + b"\x82\x02\0\1")
@settings(max_examples=60, deadline=None)
def test_garbage_costs_its_own_connection_only(garbage):
    """Whatever the bytes, the loop sees no exception and an honest client is served."""

    async def work():
        faults = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
        broker = Broker()
        await broker.start()
        try:
            for prefix in (b"", b"\x10\x10\0\4MQTT\4\2\0\0\0\4evil", b"\x10\x11\0\4MQTT\5\2\0\0\0\0\4evil"):
                _, writer = await asyncio.open_connection(broker.host, broker.port)
                writer.write(prefix + garbage)
                writer.write_eof()
            reader, writer = await asyncio.open_connection(broker.host, broker.port)
            writer.write(b"\x10\x10\0\4MQTT\4\2\0\0\0\4good\xc0\0")
            return await asyncio.wait_for(reader.readexactly(6), WAIT), faults
        finally:
            await broker.stop()

    answer, faults = asyncio.run(work())
    assert answer == b"\x20\2\0\0\xd0\0"
    assert faults == []


@given(st.integers(0, 268_435_455))
def test_variable_byte_integers_return(value):
    reader = Reader(varint(value))
    assert reader.varint() == value
    assert reader.rest() == b""


def test_a_variable_byte_integer_of_five_bytes_is_malformed():
    with pytest.raises(Malformed):
        Reader(b"\xff\xff\xff\xff\x7f").varint()


TOPIC = st.lists(st.sampled_from(["a", "b", "", "$x"]), min_size=1, max_size=4).map("/".join)


@given(TOPIC.filter(bool), st.lists(st.sampled_from(["a", "b", "", "+", "#"]), min_size=1, max_size=4).map("/".join))
def test_filters_match_as_paho_says(topic, pattern):
    if is_filter(pattern):
        assert matches(pattern, topic) == mqtt.topic_matches_sub(pattern, topic)


@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto-clients are not installed")
@pytest.mark.parametrize("version", ["5", "311"])
def test_mosquitto_clients(broker, version):
    where = ["-h", "127.0.0.1", "-p", str(broker.port), "-V", f"mqttv{version}", "-q", "1"]
    sub = subprocess.Popen(
        ["mosquitto_sub", *where, "-t", "vedette/#", "-C", "2", "-W", "10", "-F", "%t %r %p"], stdout=subprocess.PIPE
    )
    try:
        subprocess.run(["mosquitto_pub", *where, "-t", "vedette/a", "-m", "kept", "-r"], check=True, timeout=WAIT)
        deadline = time.monotonic() + WAIT
        while not any(client.wants for client in list(broker.clients.values())) and time.monotonic() < deadline:
            time.sleep(0.02)
        subprocess.run(["mosquitto_pub", *where, "-t", "vedette/b", "-m", "live"], check=True, timeout=WAIT)
        lines = sub.communicate(timeout=15)[0].decode().splitlines()
    finally:
        sub.kill()
        sub.wait()
    assert {line.split()[0]: line.split()[2] for line in lines} == {"vedette/a": "kept", "vedette/b": "live"}
