"""The same as the scripts beside it (see common.mjs), with redis-py."""

import json
import select
import sys
import time

import redis
from redis.sentinel import MasterNotFoundError, Sentinel


def say(*words):
    print(*(str(w).replace("\n", " ") for w in words), flush=True)


def ended():
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready) and not sys.stdin.read(1)


def main():
    config = json.loads(sys.argv[1])
    options = {"socket_timeout": 1, "socket_connect_timeout": 1}
    if "tls" in config:
        tls = config["tls"]
        options.update(ssl=True, ssl_ca_certs=tls["ca"], ssl_certfile=tls["cert"], ssl_keyfile=tls["key"])
    sentinel = Sentinel(
        [(s["host"], s["port"]) for s in config["sentinels"]],
        sentinel_kwargs={"username": config["sentinelUser"], "password": config["sentinelPassword"], **options},
        password=config["password"],
        **options,
    )
    master, replica = sentinel.master_for(config["name"]), sentinel.slave_for(config["name"])
    at, n = None, 0
    while not ended():
        try:
            now = sentinel.discover_master(config["name"])
            if now != at:
                at = now
                say("moved", "%s:%d" % at)
            master.set("%s:%d" % (config["prefix"], n), n)
            say("ack", n)
            n += 1
            if n % 20 == 0 and replica.get("%s:%d" % (config["prefix"], n - 20)) is not None:
                say("read", n - 20)
        except (redis.RedisError, MasterNotFoundError) as err:
            say("error", type(err).__name__, err)
            time.sleep(0.02)
        time.sleep(0.005)


main()
