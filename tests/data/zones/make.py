#!/usr/bin/env python3
"""Makes this folder: files of zones, compiled by zic as Debian does ("fat") and without the years to 2037 ("slim"), and what
Python's zoneinfo says of each: the offset around every change of 2019 to 2041, and when local times around them are."""
import os, shutil, subprocess, tempfile, zoneinfo
from datetime import datetime, timedelta, timezone

ZONES = """Europe/Moscow Europe/Berlin Europe/Dublin America/New_York America/Sao_Paulo America/St_Johns America/Nuuk
Australia/Lord_Howe Africa/Casablanca Africa/Cairo Pacific/Apia Pacific/Auckland Asia/Kolkata Asia/Kathmandu Asia/Gaza
Antarctica/Troll""".split()
HERE = os.path.dirname(os.path.abspath(__file__))
EPOCH, UTC = datetime(1970, 1, 1), timezone.utc


def offset(zone, at):
    return int(datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset().total_seconds())


def changes(zone, start, end):
    step, at = 6 * 3600, start
    while at < end:
        if offset(zone, at) != offset(zone, at + step):
            low, high = at, at + step
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(zone, middle) == offset(zone, low) else (low, middle)
            yield high
        at += step


def instants(zone, local):
    wall, found = EPOCH + timedelta(seconds=local), set()
    for fold in 0, 1:
        at = int(wall.replace(tzinfo=zone, fold=fold).timestamp())
        if at + offset(zone, at) == local:
            found.add(at)
    return sorted(found)


with tempfile.TemporaryDirectory() as folder, open(f"{HERE}/expected.txt", "w") as out:
    for kind in "fat", "slim":
        subprocess.run(["zic", "-b", kind, "-d", f"{folder}/{kind}", "/usr/share/zoneinfo/tzdata.zi"], check=True)
    for n, name in enumerate(ZONES):
        kind = "fat" if n % 4 == 1 else "slim"
        shutil.copyfile(f"{folder}/{kind}/{name}", f"{HERE}/{name.replace('/', '-')}.tzif")
        with open(f"{folder}/{kind}/{name}", "rb") as file:
            zone = zoneinfo.ZoneInfo.from_file(file, name)
        print("zone", name, file=out)
        for at in changes(zone, 1546300800, 2272147200):
            before, after = offset(zone, at - 1), offset(zone, at)
            print("change", at, before, after, file=out)
            for local in sorted({at + side for side in (before, after)} | {at + (before + after) // 2}):
                print("local", local, *instants(zone, local), file=out)
