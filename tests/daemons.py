#!/usr/bin/env python3
"""Several `vaiven run` on one PostgreSQL, while people buy and edit, and everything is done to the daemons that happens to
daemons: killed and started again, paused for longer than their leases, cut off from the database in three ways; the one that
has the schedule's turn is killed; the database is restarted. In the end both sides must be equal, nothing twice, nothing left.

  tests/daemons.py       VAIVEN=path/to/vaiven DAEMONS=4 STEPS=160 ROUNDS=2 SEED=7 tests/daemons.py

  ROUNDS=0 does nothing to them; FOLDER keeps everything there to be looked at. Prints `N passed, N failed`."""

import json, os, random, re, select, signal, socket, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
VAIVEN = os.path.abspath(os.environ.get("VAIVEN", os.path.join(HERE, "../target/release/vaiven")))
DAEMONS = int(os.environ.get("DAEMONS", 4))
STEPS = int(os.environ.get("STEPS", 160))
ROUNDS = int(os.environ.get("ROUNDS", 2))
SEED = int(os.environ.get("SEED", int(time.time()) % 30000))
LEASE = 3  # seconds; a pull or a turn of the schedule is held for twice as long


class Relay:
    """The way of one daemon to the database, which can be closed, or swallow everything for a while."""

    def __init__(self, target):
        self.target, self.pairs, self.mode = target, {}, "open"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.work, daemon=True).start()

    def drop(self, one):
        for end in (one, self.pairs.pop(one, None)):
            if end:
                self.pairs.pop(end, None)
                end.close()

    def work(self):
        while True:
            if self.mode == "closed":
                for one in list(self.pairs):
                    self.drop(one)
            if self.mode == "hanging":
                time.sleep(0.05)
                continue
            for ready in select.select([self.listener, *self.pairs], [], [], 0.05)[0]:
                if ready is self.listener:
                    client = self.listener.accept()[0]
                    try:
                        if self.mode == "closed":
                            raise OSError
                        server = socket.create_connection(("127.0.0.1", self.target))
                        self.pairs.update({client: server, server: client})
                    except OSError:
                        client.close()
                elif ready in self.pairs:
                    try:
                        data = ready.recv(65536)
                        if not data:
                            raise OSError
                        self.pairs[ready].sendall(data)
                    except OSError:
                        self.drop(ready)


class Stage:
    def __init__(self, folder):
        self.folder, self.home, self.dice = folder, os.path.join(folder, "demo"), random.Random(SEED)
        self.began, self.daemons, self.done = time.monotonic(), {}, []
        self.pg = os.path.join(folder, "postgres")
        self.url = self.postgres("start").strip().splitlines()[-1]
        self.relay = Relay(int(re.search(r":(\d+)/", self.url).group(1)))

    def tell(self, line):
        print(f"{time.monotonic() - self.began:6.1f} s  {line}", flush=True)

    def postgres(self, verb):
        run = subprocess.run([os.path.join(HERE, "peers/postgres.sh"), verb, self.pg], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True, check=True)
        return run.stdout

    def ask(self, sql):
        run = subprocess.run(["psql", "-XAt", self.url, "-c", sql], capture_output=True, text=True)
        return run.stdout.split() if run.returncode == 0 else []

    # --- the company and the daemons

    def live(self):
        report = open(os.path.join(self.folder, "report.json"), "w")
        log = open(os.path.join(self.folder, "life.log"), "w")
        self.life = subprocess.Popen([VAIVEN, "demo", "--once", "--apart", "--json", "--steps", str(STEPS), "--seed",
                                      str(SEED), "--store", self.url, "--dir", self.home], stdout=report, stderr=log)
        config = os.path.join(self.home, "vaiven.toml")
        while not os.path.exists(config):
            if self.life.poll() is not None:
                sys.exit(open(log.name).read())
            time.sleep(0.05)
        # Only a full pass finds what was deleted from the catalog; no other flow has one, which might bring back what was lost.
        text = re.sub(r'^full .*$', 'full = "5,25,45 * * * * *"', open(config).read(), flags=re.M)
        text += f'\n[limits]\nlease = "{LEASE}s"\npoll = "200ms"\n'
        for number in range(1, DAEMONS + 1):
            mine = text
            if number == DAEMONS:
                mine = text.replace(self.url, re.sub(r":\d+/", f":{self.relay.port}/", self.url))
            with open(os.path.join(self.home, f"daemon-{number}.toml"), "w") as file:
                file.write(mine)

    def start(self, number):
        """Starts a daemon and waits until it runs: without its database it would not begin, which is its supervisor's affair."""
        log = open(os.path.join(self.folder, f"daemon-{number}.log"), "a+")
        config = os.path.join(self.home, f"daemon-{number}.toml")
        before = log.seek(0, os.SEEK_END)
        daemon = self.daemons[number] = subprocess.Popen([VAIVEN, "run", "--config", config], stdout=log, stderr=log)
        until = time.monotonic() + 60
        while log.seek(before) is not None and " running " not in log.read():
            if daemon.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"daemon {number} did not start")
            time.sleep(0.05)

    def kill(self, number):
        self.daemons[number].kill()
        self.daemons[number].wait()

    def any(self):
        return self.dice.randint(1, DAEMONS)

    def leader(self):
        """Which daemon has the turn of a flow."""
        holders = self.ask("SELECT owner FROM lease WHERE name LIKE 'flow:%' AND until > extract(epoch FROM now()) * 1e6")
        pids = {daemon.pid: number for number, daemon in self.daemons.items()}
        found = [pids.get(int(holder.split("-")[0])) for holder in holders]
        return next((number for number in found if number), None)

    # --- what happens to them

    def killed(self):
        number = self.any()
        self.kill(number)
        time.sleep(self.dice.uniform(0.1, 2))
        self.start(number)
        return f"daemon {number} was killed and started again"

    def paused(self):
        number = self.any()
        self.daemons[number].send_signal(signal.SIGSTOP)
        time.sleep(2 * LEASE + self.dice.uniform(1, 3))
        self.daemons[number].send_signal(signal.SIGCONT)
        return f"daemon {number} was paused for longer than its leases"

    def cut_off(self):
        self.relay.mode = "closed"
        time.sleep(self.dice.uniform(3, 7))
        self.relay.mode = "open"
        return f"daemon {DAEMONS} was cut off from the database"

    def held_up(self):
        self.relay.mode = "hanging"
        time.sleep(2 * LEASE + self.dice.uniform(1, 3))
        self.relay.mode = "open"
        return f"all that daemon {DAEMONS} and the database said to each other arrived late"

    def disconnected(self):
        for _ in range(3):
            self.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vaiven'")
            time.sleep(self.dice.uniform(0.2, 1))
        return "the database closed all connections three times"

    def headless(self):
        until = time.monotonic() + 20
        while (number := self.leader()) is None:
            if time.monotonic() > until:
                raise AssertionError("no daemon has the turn of any flow")
            time.sleep(0.02)
        self.kill(number)
        flows = len(self.ask("SELECT name FROM lease WHERE name LIKE 'flow:%'"))
        until = time.monotonic() + 4 * LEASE + 5
        while (other := self.leader()) in (None, number):
            if time.monotonic() > until:
                raise AssertionError(f"nobody took over from daemon {number}")
            time.sleep(0.02)
        self.start(number)
        return f"daemon {number} was killed in its turn, daemon {other} had the next ({flows} flows)"

    def restarted(self):
        self.postgres("stop")
        time.sleep(self.dice.uniform(0, 2))
        self.postgres("start")
        return "the database was restarted"

    def disturb(self):
        what = [self.killed, self.paused, self.cut_off, self.held_up, self.disconnected, self.headless, self.restarted]
        for _ in range(ROUNDS):
            for one in self.dice.sample(what, len(what)):
                if self.life.poll() is not None:
                    return
                self.tell(one())
                self.done.append(one.__name__)
                time.sleep(self.dice.uniform(0.2, 1))

    # --- how it ends

    def judge(self):
        """What must hold, by name: what is wrong with it."""
        self.life.wait()
        log = open(os.path.join(self.folder, "life.log")).read()
        try:
            report = json.load(open(os.path.join(self.folder, "report.json")))
        except ValueError:
            report = None
        self.tell("the company is at rest")
        self.report = report
        tail = "\n".join(log.splitlines()[-15:])
        yield "the company lived to its end", [] if report else [tail]
        if report:
            lines = [f"{line['entity']}: {line['examples']}" for line in report["lines"] if line["different"] or line["missing"]]
            yield "both sides are equal", lines
            yield "nothing is there twice", report["duplicates"]
            yield "no job is left, no row was rejected", report["left"] + ["rejected"] * report["rejected"]
            yield "every balance closes", report["unbalanced"]
        slow = []
        for number, daemon in self.daemons.items():
            asked = time.monotonic()
            daemon.terminate()
            try:
                code = daemon.wait(15)
            except subprocess.TimeoutExpired:
                code = "none"
                self.kill(number)
            if code != 0 or time.monotonic() - asked > 10:
                slow.append(f"daemon {number}: exit {code} after {time.monotonic() - asked:.1f} s")
        yield "each daemon stops within 10 s", slow
        logs = {number: open(os.path.join(self.folder, f"daemon-{number}.log")).read() for number in self.daemons}
        yield "none panicked", [f"daemon {number}" for number, log in logs.items() if "panicked" in log]
        all_logs = "\n".join(logs.values())
        for words in ("its leases have run out", "leases were lost meanwhile", "has taken over meanwhile", "interrupted by the state store"):
            print(f"          {all_logs.count(words):4} times in the logs: {words}")
        pulls = self.ask("SELECT count(*) FROM run")
        print(f"          {''.join(pulls)} runs, {''.join(self.ask('SELECT count(*) FROM job'))} jobs")

    def end(self):
        for process in [*self.daemons.values(), self.life]:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        self.postgres("stop")


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = os.environ.get("FOLDER") or temporary
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        print(f"daemons: {DAEMONS} of them, {STEPS} steps, {ROUNDS} rounds, seed {SEED}")
        stage = Stage(folder)
        try:
            stage.live()
            passed = failed = 0
            try:
                for number in range(1, DAEMONS + 1):
                    stage.start(number)
                stage.disturb()
            except AssertionError as error:
                failed += 1
                stage.tell(f"FAIL  {error}")
            for name, wrong in stage.judge():
                passed, failed = passed + (not wrong), failed + bool(wrong)
                print("ok   " if not wrong else "FAIL ", name)
                for line in wrong:
                    print("     ", line)
        finally:
            stage.end()
        print(f"{passed} passed, {failed} failed")
        return failed != 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
