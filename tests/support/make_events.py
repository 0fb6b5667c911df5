#!/usr/bin/env python3
"""Makes examples/events.ndjson.gz: a day of a web shop's page views from a producer that cannot be relied on.

The same seed gives the same bytes. What is wrong with the file, and how much of it there is, is printed as JSON, so that a
test can compare it with what a server says:

    duplicates    about 7 %: the producer sends again what it believes lost, at once or minutes later, byte for byte
    disorder      events travel for a fraction of a second; about 4 % of them are minutes late, a few more than an hour
    bad lines     about 1.5 %: malformed_json, not_an_object, missing_dedup_key, bad_event_time, wrong_type

    tests/support/make_events.py [--out examples/events.ndjson.gz] [--seed 42] [--events 1850]
"""
import argparse
import datetime
import gzip
import io
import json
import random

START = datetime.datetime(2025, 3, 14, 6, 0, tzinfo=datetime.timezone.utc)
HOURS = 12

PRODUCTS = ["kettle", "teapot", "mug-blue", "mug-white", "filter-paper", "grinder", "scale", "beans-house", "beans-dark", "spoon"]
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36",
    "ShopBot/1.3 (+https://shop.example/bot)",
]


def page(rng):
    """One request: method, path, status, bytes."""
    product = PRODUCTS[min(rng.randrange(len(PRODUCTS)), rng.randrange(len(PRODUCTS)))]
    kind = rng.choices(["home", "list", "product", "image", "cart", "order", "search", "missing"],
                       [14, 12, 30, 26, 7, 3, 6, 2])[0]
    if kind == "home":
        return "GET", "/", 200, rng.randint(8_000, 9_500)
    if kind == "list":
        return "GET", "/c/" + rng.choice(["coffee", "tea", "tools"]), 200, rng.randint(14_000, 32_000)
    if kind == "product":
        return "GET", "/p/" + product, rng.choices([200, 304], [85, 15])[0], rng.randint(9_000, 18_000)
    if kind == "image":
        return "GET", f"/img/{product}-{rng.choice([320, 640, 1280])}.webp", rng.choices([200, 304], [60, 40])[0], rng.randint(20_000, 240_000)
    if kind == "cart":
        return "POST", "/cart", rng.choices([200, 302], [80, 20])[0], rng.randint(300, 900)
    if kind == "order":
        return "POST", "/order", rng.choices([201, 409, 500], [93, 4, 3])[0], rng.randint(400, 1_200)
    if kind == "search":
        return "GET", "/search?q=" + product.split("-")[0], 200, rng.randint(4_000, 12_000)
    return "GET", rng.choice(["/wp-login.php", "/favicon.png", "/p/samovar"]), 404, 512


def event(rng, when, user):
    method, path, status, size = page(rng)
    properties = {"method": method, "path": path, "status": status, "bytes": 0 if status == 304 else size,
                  "referrer": rng.choice([None, "https://shop.example/", "https://find.example/"]), "agent": user["agent"]}
    return {"event_id": f"{rng.getrandbits(104):026x}", "event_type": "page_view",
            "timestamp": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "user_id": user["id"],
            "properties": properties}


def spoiled(rng, good, reason):
    """A line that must be rejected for `reason`."""
    bad = json.loads(json.dumps(good))
    bad["event_id"] = f"{rng.getrandbits(104):026x}"
    if reason == "malformed_json":
        text = json.dumps(bad, separators=(",", ":"))
        return rng.choice([text[:rng.randint(20, len(text) - 2)], text.replace('":"', '":', 1), text + "}"])
    if reason == "not_an_object":
        return rng.choice(["[]", '"page_view"', "17", "null", json.dumps([bad["event_id"]])])
    if reason == "missing_dedup_key":
        if rng.random() < 0.5:
            del bad["event_id"]
        else:
            bad["event_id"] = None
    elif reason == "bad_event_time":
        bad["timestamp"] = rng.choice(["yesterday", "2025-02-30T10:00:00Z", None, "14/Mar/2025:10:05:03"])
    elif reason == "wrong_type":
        bad["properties"]["status" if rng.random() < 0.5 else "bytes"] = rng.choice(["many", 12.5, True, [1]])
    return json.dumps(bad, separators=(",", ":"), ensure_ascii=False)


def make(seed, events):
    rng = random.Random(seed)
    users = [{"id": f"u{n:04d}", "agent": rng.choice(AGENTS)} for n in range(240)]
    sent = []   # (arrival, order, line); the file has them by arrival
    truth = {"accepted": 0, "duplicates": 0, "rejected": {}, "late_over_30m": 0, "by_status": {}, "bytes": 0}

    def send(arrival, line):
        sent.append((arrival, len(sent), line))

    for _ in range(events):
        # The shop is busier towards noon.
        share = (rng.random() + rng.random() + rng.random()) / 3
        when = START + datetime.timedelta(milliseconds=int(share * HOURS * 3_600_000))
        made = event(rng, when, users[min(rng.randrange(240), rng.randrange(240))])
        line = json.dumps(made, separators=(",", ":"), ensure_ascii=False)
        delay = rng.expovariate(1 / 0.4)
        if rng.random() < 0.04:
            delay = rng.uniform(60, 25 * 60)
        if rng.random() < 0.004:
            delay = rng.uniform(40 * 60, 100 * 60)
            truth["late_over_30m"] += 1
        arrival = when + datetime.timedelta(seconds=delay)
        send(arrival, line)
        truth["accepted"] += 1
        status = made["properties"]["status"]
        truth["by_status"][status] = truth["by_status"].get(status, 0) + 1
        truth["bytes"] += made["properties"]["bytes"]
        while rng.random() < 0.07:
            arrival += datetime.timedelta(seconds=rng.choice([0.2, 1, 5, 30, 600]))
            send(arrival, line)
            truth["duplicates"] += 1
        if rng.random() < 0.0145:
            reason = rng.choice(["malformed_json", "not_an_object", "missing_dedup_key", "bad_event_time", "wrong_type"])
            send(arrival, spoiled(rng, made, reason))
            truth["rejected"][reason] = truth["rejected"].get(reason, 0) + 1
    sent.sort(key=lambda item: item[:2])
    truth["lines"] = len(sent)
    truth["by_status"] = dict(sorted(truth["by_status"].items()))
    truth["rejected"] = dict(sorted(truth["rejected"].items()))
    return "".join(line + "\n" for _, _, line in sent), truth


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", default="examples/events.ndjson.gz")
    options.add_argument("--seed", type=int, default=42)
    options.add_argument("--events", type=int, default=1850)
    words = options.parse_args()
    text, truth = make(words.seed, words.events)
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0, compresslevel=9) as out:
        out.write(text.encode())
    with open(words.out, "wb") as out:
        out.write(packed.getvalue())
    print(json.dumps(truth, indent=2))


if __name__ == "__main__":
    main()
