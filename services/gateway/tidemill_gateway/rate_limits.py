"""How often each key may ask, counted in Redis, so that all gateways count together.

The generic cell rate algorithm (ATM Forum TM 4.0, section 4.4.2) in one script, on Redis' own clock.
"""

from __future__ import annotations

from typing import Any

import redis.asyncio
from prometheus_client import Counter
from redis.exceptions import RedisError
from tidemill_chassis.logs import get_logger
from tidemill_contracts.errors import Overloaded

log = get_logger(__name__)

REDIS_S_MAX = 0.1
"""A Redis that takes longer is taken for stopped: the request goes through uncounted."""
BURST_S = 1.0
"""What was saved up over so many seconds may be spent at once."""
PREFIX = "tidemill:rate:"
UNCOUNTED = Counter(
    "tidemill_gateway_rate_uncounted_total", "Requests let through while Redis did not answer"
)

TAKE = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local interval, burst = 1 / tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local wait = due - (burst - 1) * interval - now
if wait > 0 then return string.format('%.6f', wait) end
due = due + interval
redis.call('SET', KEYS[1], string.format('%.6f', due), 'PX', math.ceil((due - now) * 1000) + 1)
return '0'
"""


class RateLimits:
    """per_s: by key's name, how many requests a second; who is not named may ask as often as he likes."""

    def __init__(self, url: str, per_s: dict[str, float]) -> None:
        self._per_s = per_s
        self._redis: Any = redis.asyncio.Redis.from_url(
            url, socket_timeout=REDIS_S_MAX, socket_connect_timeout=REDIS_S_MAX, retry=None
        )
        self._take = self._redis.register_script(TAKE)

    async def take(self, name: str) -> None:
        """Count one request of a key.

        Raises:
            Overloaded: it asks too often; `retry_after_s` is when the next one would be let in.
        """
        rate = self._per_s.get(name)
        if rate is None:
            return
        burst = max(1, round(rate * BURST_S))
        try:
            wait_s = float(await self._take(keys=[PREFIX + name], args=[rate, burst]))
        except (RedisError, OSError, TimeoutError) as error:
            UNCOUNTED.inc()
            log.debug("rate_not_counted", error=str(error))
            return
        if wait_s > 0:
            raise Overloaded(f"the key of {name} may ask {rate:g} times a second", retry_after_s=wait_s)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._redis.aclose()
