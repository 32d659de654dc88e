"""What is measured: each row is one command of `hubbub bench`, the figures that are taken from its report, and the goal."""

ALL = ("mosquitto", "rmqttd", "rumqttd", "flashmq")


class Figure:
    """A number of a report: where it stands, how it is written, and whether more of it is better."""

    def __init__(self, path, unit="", scale=1.0, more_is_better=False, digits=None):
        self.path, self.unit, self.scale = path.split("/"), unit, scale
        self.more_is_better, self.digits = more_is_better, digits

    def take(self, report):
        for step in self.path:
            report = report[int(step)] if isinstance(report, list) else (report or {}).get(step)
        return None if report is None else report * self.scale

    def write(self, value):
        if value is None:
            return "–"
        if self.digits is None and abs(value) >= 1000:
            text = f"{value / 1000:,.0f} k" if value >= 10_000 else f"{value / 1000:.1f} k"
        else:
            text = f"{value:,.{2 if self.digits is None else self.digits}f}"
        return f"{text} {self.unit}".strip()


class Row:
    """`figures[0]` is the one that is compared. `goal` is text; `reached` decides from the medians of that figure: ours and
    those of the others by kind (of two of a kind, the better). `also` decides about our second figure."""

    def __init__(self, key, title, command, figures, goal="", reached=None, peers=ALL, needs=(), restart=False, also=None):
        self.key, self.title, self.command, self.figures = key, title, command.split(), figures
        self.goal, self.reached, self.peers = goal, reached, peers
        self.needs, self.restart, self.also = needs, restart, also

    def compare(self, ours, second, others):
        """Whether the goal is reached: True, False, or None where that cannot be said."""
        if self.reached is None or ours is None:
            return None
        try:
            return bool(self.reached(ours, others)) and (self.also is None or self.also(second))
        except (KeyError, ValueError):
            return None


RATE = Figure("delivered_per_second", "/s", more_is_better=True)
PROCESSOR = Figure("usage/broker/cpu_us_per_message", "µs", digits=2)
P50 = Figure("latency/p50_us", "ms", 1e-3)
P99 = Figure("latency/p99_us", "ms", 1e-3)
LOST = Figure("lost", "lost", digits=0)


def times(factor, kind):
    return lambda ours, others: ours >= factor * others[kind]


def times_best(factor):
    return lambda ours, others: ours >= factor * max(others.values())


def at_most(limit):
    return lambda ours, _: ours <= limit


def at_least(limit):
    return lambda ours, _: ours >= limit


def pairs(qos):
    return Row(
        f"p2p{qos}",
        f"p2p QoS {qos}, 100 pairs, window 20",
        f"p2p --qos {qos} --seconds 3",
        [RATE, PROCESSOR, LOST],
        "1.3 × FlashMQ",
        times(1.3, "flashmq"),
    )


def fanout(qos):
    return Row(
        f"fanout{qos}",
        f"fan-out 1 → 1000, QoS {qos}",
        f"fanout --qos {qos} --seconds 3",
        [RATE, PROCESSOR, LOST],
        "1.1 × the best",
        times_best(1.1),
    )


def steady_groups(rate, limit):
    deliveries = rate * 20 // 1000
    return Row(
        f"groups{deliveries}",
        f"chat: 2,000 users, 200 groups of 20, {deliveries} k deliveries/s: p99",
        f"groups --rate {rate} --seconds 4",
        [P99, P50, LOST],
        f"≤ {limit} ms",
        at_most(limit),
    )


ROWS = [
    pairs(0),
    pairs(1),
    pairs(2),
    Row(
        "oneway",
        "p2p, one in flight: p50 / p99",
        "p2p --pairs 1 --window 1 --seconds 3",
        [P50, P99],
        "as Mosquitto 2.1",
        lambda ours, others: ours <= 1.05 * others["mosquitto"],
    ),
    fanout(0),
    fanout(1),
    Row("fanin1", "fan-in 100 → 1, QoS 1", "fanin --qos 1 --seconds 3", [RATE, PROCESSOR, LOST], "1.2 × FlashMQ", times(1.2, "flashmq")),
    steady_groups(1000, 0.5),
    steady_groups(4000, 3),
    Row(
        "groupsmost",
        "chat: most publishes/s with p99 ≤ 100 ms",
        "groups --p99-within 100 --seconds 1.5 --warmup 0.5 --drain 1 --rate 2000",
        [Figure("most_published_per_second", "/s", more_is_better=True)],
        "≥ 16 k",
        at_least(16_000),
    ),
    Row(
        "presence",
        "presence: 5,000 users each watching 50: settled in; 500 wills heard in",
        "presence --user-prefix=",
        [Figure("settled_seconds", "s"), Figure("wills_seconds", "s"), LOST],
        "≤ 1.5 s; 0.1 s",
        at_most(1.5),
        also=lambda wills: wills <= 0.1,
        # rumqttd scans all filters for each of the topics: a minute and more.
        peers=("mosquitto", "rmqttd", "flashmq"),
    ),
    Row(
        "connect",
        "10,000 subscribed idle connections: RSS each; connects/s",
        "connect --users 10000 --hold 3 --user-prefix=",
        [Figure("resident_bytes_per_connection", "KB", 1e-3), Figure("connects_per_second", "/s", more_is_better=True)],
        "≤ 3 KB; ≥ 28 k",
        at_most(3),
        also=lambda connects: connects >= 28_000,
    ),
    Row(
        "connectnamed",
        "the same with user names, so with presence made by the server",
        "connect --users 10000 --hold 3",
        [Figure("resident_bytes_per_connection", "KB", 1e-3), Figure("connects_per_second", "/s", more_is_better=True)],
        peers=(),
    ),
    Row(
        "drain",
        "200 sessions × 1,000 queued QoS 1: drain",
        "drain",
        [Figure("drained_seconds", "s"), LOST],
        "≤ 0.5 s, from disk",
        at_most(0.5),
        needs=("queues",),
    ),
    Row(
        "peruser",
        "per-user topics, first publish each, 1 k → 8 k users",
        "peruser --users 1000,8000",
        [Figure("steps/1/publish_us_per_user", "µs", digits=0), Figure("steps/0/publish_us_per_user", "µs at 1 k", digits=0)],
        "flat, ≤ 20 µs",
        at_most(20),
    ),
    Row(
        "peruser80",
        "the same, 80 k users on 8,000 connections: time; processor time",
        "peruser --users 80000",
        [Figure("steps/0/publish_us_per_user", "µs", digits=1), Figure("steps/0/publish_cpu_us_per_user", "µs", digits=1)],
        "flat, ≤ 20 µs",
        at_most(20),
        peers=("mosquitto", "flashmq"),
    ),
    Row(
        "survive",
        "acknowledged, then SIGKILL: survivors of 200,000, persistence on",
        "survive",
        [Figure("arrived", more_is_better=True, digits=0), Figure("drained_seconds", "s")],
        "all",
        at_least(200_000),
        needs=("queues", "disk"),
        restart=True,
    ),
    Row(
        "storm",
        "10,000 persistent sessions with 10 messages each return after SIGKILL: drained in; peak memory",
        "survive --sessions 10000 --messages 10 --parallel 1000",
        [Figure("drained_seconds", "s"), Figure("peak_bytes", "MB", 1e-6), LOST],
        needs=("queues", "disk"),
        restart=True,
        peers=(),
    ),
    Row(
        "stored",
        "dm at QoS 1, acknowledged when stored",
        "chat --pairs 500 --window 100 --seconds 4",
        [RATE, PROCESSOR, LOST],
        "≥ 60 k/s",
        at_least(60_000),
        peers=(),
    ),
    Row(
        "half0",
        "2,000 users in pairs at half of saturation, QoS 0: p99",
        "p2p --pairs 1000 --of-saturation 0.5 --seconds 3",
        [P99, P50, Figure("rate", "/s", more_is_better=True)],
        "≤ 10 ms",
        at_most(10),
    ),
    Row(
        "half1",
        "2,000 users, stored dm at half of saturation: p99",
        "chat --pairs 1000 --of-saturation 0.5 --seconds 3",
        [P99, P50, Figure("rate", "/s", more_is_better=True)],
        "≤ 25 ms",
        at_most(25),
        peers=(),
    ),
    Row(
        "burst",
        "bursts of 10 to a room of 5,000 each second: p99 of a pair beside it; of the room",
        "burst",
        [Figure("pair_beside/latency/p99_us", "ms", 1e-3), Figure("room/latency/p99_us", "ms", 1e-3)],
        "≤ 50 ms",
        at_most(50),
    ),
]
