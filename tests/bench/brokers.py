"""The brokers that can be measured: how each is started on loopback with a folder of its own.

Each has its own defaults, anonymous clients, and limits only where a row could not be measured with the default: queues of 1,000
messages for absent clients, 10,000 connections, persistence."""

import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from pathlib import Path

# Seconds.
START_PATIENCE = 20
END_PATIENCE = 20

# Open files of this process are those of its children; less than 20,000 is too little for 10,000 connections and some more.
OPEN_FILES = 20_000


class Broker:
    """A program at hand. `kind` says how it is configured, `name` is the heading of its column."""

    def __init__(self, name, path):
        self.name, self.path = name, os.path.abspath(path)
        self.kind = next((kind for kind in KINDS if name.startswith(kind)), None)
        if self.kind is None:
            raise SystemExit(f"{name}: names begin with one of {', '.join(KINDS)}")

    def version(self):
        """What the program says of itself."""
        words = KINDS[self.kind].version
        if not words:
            return ""
        said = subprocess.run([self.path, *words], capture_output=True, text=True, timeout=10)
        found = re.search(r"\d+\.\d+[\w.+-]*", said.stdout + said.stderr)
        return found.group(0) if found else ""

    def start(self, folder, needs):
        """A running broker with its data in `folder`, on a free port. Needs are "queues" for absent clients, and "disk"."""
        return Running(self, Path(folder), needs)


class Running:
    """A broker's process. It is ended by its own number, whatever happens."""

    def __init__(self, broker, folder, needs):
        self.broker, self.folder, self.port = broker, folder, free_port()
        self.words = [broker.path, *KINDS[broker.kind].prepare(folder, self.port, needs)]
        with open(folder / "log", "ab") as log:
            self.child = subprocess.Popen(self.words, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.child.pid
        self.wait_until_it_listens()

    def restart_command(self):
        """For `hubbub bench survive`: starts it again and prints its process id."""
        return f"cd {shlex.quote(str(self.folder))}; {shlex.join(self.words)} >>log 2>&1 & echo $!"

    def wait_until_it_listens(self):
        began = time.monotonic()
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                pass
            if self.child.poll() is not None or time.monotonic() - began > START_PATIENCE:
                self.end()
                log = (self.folder / "log").read_text(errors="replace")
                raise RuntimeError(f"{self.broker.name} does not start: {log[-500:]}")
            time.sleep(0.02)

    def end(self):
        """Ends it, the one that came after a restart too."""
        for pid in {self.pid, self.child.pid}:
            end_process(pid, self.child if pid == self.child.pid else None)


def end_process(pid, child):
    """SIGTERM, and SIGKILL for those who stay."""
    for signal in (15, 9):
        try:
            os.kill(pid, signal)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + END_PATIENCE
        while time.monotonic() < deadline:
            if child is not None and child.poll() is not None or not is_alive(pid):
                return
            time.sleep(0.02)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Kind:
    """`prepare` writes what configuration it needs into the folder and returns the arguments; `version` are words that make
    the program say its version."""

    def __init__(self, prepare, version):
        self.prepare, self.version = prepare, version


def hubbub(folder, port, _needs):
    values = {
        "listen.mqtt": f"127.0.0.1:{port}",
        "listen.websocket": "",
        "listen.http": "off",
        "log.level": "warn",
        "store.path": str(folder / "data"),
    }
    return ["serve", "--dev", *(word for key, value in values.items() for word in ("--set", f"{key}={value}"))]


def mosquitto(folder, port, needs):
    lines = [f"listener {port} 127.0.0.1", "allow_anonymous true", "user root", "log_type error"]
    if "queues" in needs:
        lines += ["max_queued_messages 0"]
    if "disk" in needs:
        # Saved every second, which is as often as it can be told to.
        lines += ["persistence true", f"persistence_location {folder}/", "autosave_interval 1"]
    return ["-c", write(folder / "mosquitto.conf", lines)]


def flashmq(folder, port, needs):
    lines = [
        "allow_anonymous true",
        f"rlimit_nofile {OPEN_FILES}",
        f"log_file {folder}/flashmq.log",
        "log_level warning",
        "listen {",
        "  protocol mqtt",
        f"  port {port}",
        "  inet_protocol ip4",
        "  inet4_bind_address 127.0.0.1",
        "}",
    ]
    if "queues" in needs:
        lines += ["max_qos_msg_pending_per_client 65000", "max_qos_bytes_pending_per_client 100000000"]
    if "disk" in needs:
        # Without a folder it keeps nothing. Saved at the end and every five minutes, which is as often as it can be told to.
        lines += [f"storage_dir {folder}", "save_state_interval 300"]
    return ["--config-file", write(folder / "flashmq.conf", lines)]


def rumqttd(folder, port, _needs):
    # It has no persistence that could be switched on.
    lines = [
        "id = 0",
        "[router]",
        "id = 0",
        "max_connections = 20000",
        "max_outgoing_packet_count = 200",
        "max_segment_size = 104857600",
        "max_segment_count = 10",
        "[v4.1]",
        'name = "v4-1"',
        f'listen = "127.0.0.1:{port}"',
        "next_connection_delay_ms = 0",
        "[v4.1.connections]",
        "connection_timeout_ms = 60000",
        "max_payload_size = 1048576",
        "max_inflight_count = 100",
        "dynamic_filters = true",
    ]
    return ["-c", write(folder / "rumqttd.toml", lines), "-q"]


def rmqttd(folder, port, needs):
    plugins = folder / "plugins"
    plugins.mkdir(exist_ok=True)
    started = ["rmqtt-retainer"]
    write(plugins / "rmqtt-retainer.toml", ['storage.type = "ram"', "max_retained_messages = 0"])
    if "disk" in needs:
        started.append("rmqtt-session-storage")
        sled = ['storage.type = "sled"', f'storage.sled.path = "{folder}/sessions"', 'storage.sled.cache_capacity = "1GB"']
        write(plugins / "rmqtt-session-storage.toml", sled)
    lines = [
        "[rpc]",
        f'server_addr = "127.0.0.1:{free_port()}"',
        "[log]",
        'to = "console"',
        'level = "error"',
        "[plugins]",
        f'dir = "{plugins}/"',
        f"default_startups = {started}",
        'disabled_default_startups = ["rmqtt-http-api", "rmqtt-acl"]',
        "[listener.tcp.external]",
        f'addr = "127.0.0.1:{port}"',
        "allow_anonymous = true",
        "nodelay = true",
        "max_connections = 100000",
        "max_handshaking_limit = 20000",
        "max_subscriptions = 0",
    ]
    if "queues" in needs:
        lines += ["max_mqueue_len = 100000"]
    return ["-f", write(folder / "rmqtt.toml", lines)]


def write(file, lines):
    file.write_text("\n".join(lines) + "\n")
    return str(file)


KINDS = {
    "hubbub": Kind(hubbub, ["--version"]),
    "mosquitto": Kind(mosquitto, ["-h"]),
    "rumqttd": Kind(rumqttd, ["--version"]),
    "rmqttd": Kind(rmqttd, ["--version"]),
    "flashmq": Kind(flashmq, ["--version"]),
}


def at_hand(given):
    """The brokers given as NAME=PATH, and those of the other kinds that are in the PATH. Says which are missing."""
    found = []
    for word in given:
        name, _, path = word.partition("=")
        if not os.access(path, os.X_OK):
            raise SystemExit(f"{word}: expected NAME=PATH of a program")
        found.append(Broker(name, path))
    missing = []
    for kind in KINDS:
        if any(broker.kind == kind for broker in found):
            continue
        path = shutil.which(kind) or shutil.which(kind, path="/usr/local/sbin:/usr/sbin")
        if path:
            found.append(Broker(kind, path))
        else:
            missing.append(kind)
    order = list(KINDS)
    return sorted(found, key=lambda broker: order.index(broker.kind)), missing
