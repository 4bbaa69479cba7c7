"""What the Redis adapter must do in one step on the server: ordering keys, and consumers that died."""

from __future__ import annotations

from typing import Any

import redis

PARKED = "parked"
"""The consumer that holds entries whose turn has not come: an earlier one of their key is still leased."""
PENDING_SEEN_MAX = 10_000
"""So many leases are looked through for an earlier one of a key; what lies behind waits for its end."""

_ADMIT = """
local stream, group, consumer, parked, seen_max = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local candidates, room = {}, tonumber(ARGV[5])
for index = 6, #ARGV do candidates[ARGV[index]] = true end
local admitted, blocked = {}, {}
for _, pending in ipairs(redis.call('XPENDING', stream, group, '-', '+', seen_max)) do
  local id, holder, count = pending[1], pending[2], pending[4]
  local entry = redis.call('XRANGE', stream, id, id)[1]
  local key = nil
  if entry then
    for index = 1, #entry[2], 2 do
      if entry[2][index] == 'k' then key = entry[2][index + 1] end
    end
  end
  local mine, waits = candidates[id], holder == parked
  if key and not (mine or waits) then
    blocked[key] = true
  elseif mine and not (key and blocked[key]) then
    admitted[#admitted + 1] = id
  elseif mine then
    local before = math.max(0, count - 1)
    redis.call('XCLAIM', stream, group, parked, 0, id, 'IDLE', 0, 'RETRYCOUNT', before, 'JUSTID')
  elseif waits and key and not blocked[key] and #admitted < room then
    redis.call('XCLAIM', stream, group, consumer, 0, id, 'IDLE', 0, 'RETRYCOUNT', count + 1, 'JUSTID')
    admitted[#admitted + 1] = id
  elseif waits and key then
    blocked[key] = true
  end
end
return admitted
"""

_REMOVE = """
local removed = 0
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local found = {}
  for index = 1, #info, 2 do found[info[index]] = info[index + 1] end
  local wanted = ARGV[3] == '' or ARGV[3] == found['name']
  if wanted and found['pending'] == 0 and found['idle'] >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], found['name'])
    removed = removed + 1
  end
end
return removed
"""


class StreamScripts:
    """The scripts for one consumer of one group."""

    def __init__(self, client: redis.Redis, stream: str, group: str, consumer: str) -> None:
        self._stream = stream
        self._group = group
        self._consumer = consumer
        self._admit: Any = client.register_script(_ADMIT)
        self._remove: Any = client.register_script(_REMOVE)

    def admit(self, entries: list[bytes], room: int) -> list[bytes]:
        """Those of the keyed entries just taken, and of the parked ones, whose turn it is, in stream order.

        A turn has come when no earlier entry of the same key is leased by an earlier pull. The others are
        parked, which does not count as a delivery.
        """
        arguments = [self._group, self._consumer, PARKED, PENDING_SEEN_MAX, room, *entries]
        found: list[bytes] = self._admit(keys=[self._stream], args=arguments)
        return found

    def remove_dead(self, idle_ms: int) -> int:
        """Remove consumers that hold nothing and did not ask for so long; how many there were."""
        return int(self._remove(keys=[self._stream], args=[self._group, idle_ms, ""]))

    def leave(self) -> None:
        """Remove this consumer, if it holds nothing: else its leases must run out first."""
        self._remove(keys=[self._stream], args=[self._group, 0, self._consumer])
