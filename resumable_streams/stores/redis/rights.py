"""The rights that a user of the server needs, by purpose, and whether the server grants them.

docs/security.md lists the same commands, as a rule for ACL SETUSER. A script may ask for its own
user (`redis.acl_check_cmd`, since Redis 7.0), which needs no right beyond EVAL.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .connection import CommandConnection

__all__ = ["PURPOSES", "MissingRights", "ask_for_rights"]

PURPOSES: Mapping[str, str] = {
    "streams": (
        "ping eval evalsha scan time get set del unlink pexpire pttl persist hget hset hdel hmget "
        "append strlen getrange zadd zrem zcard zscore zrange zremrangebyscore sadd srem smembers "
        "sismember exists publish subscribe unsubscribe xadd xrange xrevrange"
    ),
    "workers": "xlen xdel xack xclaim xautoclaim xgroup xreadgroup",
    "metrics": "scard xinfo info",
    "wait_replicas": "wait",
    "a database other than 0": "select",
    "a cluster": "cluster|slots asking spublish ssubscribe sunsubscribe",
}
"""The commands that are needed for each purpose, named as ACL rules name them."""

# The arguments with which each is asked for: the keys and channels in them are asked for, too.
ARGUMENTS: Mapping[str, str] = {
    "ping": "",
    "eval": "x 0",
    "evalsha": "x 0",
    "scan": "0",
    "time": "",
    "wait": "0 0",
    "select": "1",
    "asking": "",
    "cluster|slots": "",
    "info": "",
    "xinfo": "GROUPS {key}",
    "xgroup": "CREATE {key} group $",
    "xreadgroup": "GROUP group worker STREAMS {key} >",
    "publish": "{key} message",
    "spublish": "{key} message",
}

# Answers the numbers of the commands that are refused. A command that the server does not know at
# all (a provider took it away) is no matter of rights.
SCRIPT = """
local may, refused = redis.acl_check_cmd, {}
if not may then return false end
for number, command in ipairs(cjson.decode(ARGV[1])) do
  local is_known, is_allowed = pcall(may, unpack(command))
  if is_known and not is_allowed then table.insert(refused, number) end
end
return refused
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingRights:
    """The commands that a user may not run on the keys or channels of a prefix."""

    purpose: str
    commands: tuple[str, ...]


async def ask_for_rights(
    connection: CommandConnection, prefix: str, purposes: Sequence[str]
) -> list[MissingRights] | None:
    """Return the rights that are missing; None if the server cannot tell."""
    asked = [(purpose, name) for purpose in purposes for name in PURPOSES[purpose].split()]
    commands = [_command(name, f"{prefix}:doctor") for _, name in asked]
    refused = await connection.execute("EVAL", SCRIPT, 0, json.dumps(commands))
    if refused is None:
        return None
    missing = [asked[number - 1] for number in refused]
    return list(_by_purpose(missing))


def _command(name: str, key: str) -> list[str]:
    arguments = ARGUMENTS.get(name, "{key}").format(key=key)
    return [*name.split("|"), *arguments.split()]


def _by_purpose(missing: Sequence[tuple[str, str]]) -> Iterator[MissingRights]:
    for purpose in PURPOSES:
        if commands := tuple(name for of, name in missing if of == purpose):
            yield MissingRights(purpose=purpose, commands=commands)
