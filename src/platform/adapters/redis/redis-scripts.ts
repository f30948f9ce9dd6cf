import type { RedisScript } from './redis-connection.ts'

// Each script is one step for everybody else: a crash leaves all of it done or nothing.

/**
 * Adds an event to every subscription of its topic. Answers 0 when it was published before.
 * KEYS: subscriptions, deduplication key. ARGV: event, window in milliseconds (0: no deduplication), stream prefix.
 */
export const publishScript: RedisScript = {
  lua: `
    if tonumber(ARGV[2]) > 0 and not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[2]) then return 0 end
    for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
      redis.call('XADD', ARGV[3] .. name, '*', 'event', ARGV[1])
    end
    return 1`,
}

/**
 * Makes a subscription's stream and group.
 * KEYS: subscriptions, stream. ARGV: subscription, group.
 */
export const subscribeScript: RedisScript = {
  lua: `
    redis.call('SADD', KEYS[1], ARGV[1])
    local made = redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[2], '0', 'MKSTREAM')
    if type(made) == 'table' and made.err and not string.find(made.err, 'BUSYGROUP') then return made end
    return 1`,
}

/** Who holds entries that failed and wait for their next delivery. Idle time counts from the failure. */
const failedConsumer = 'failed'

/**
 * Takes entries that are due again: failed ones after their backoff, and those whose process fell silent.
 * KEYS: stream. ARGV: group, consumer, most entries, backoff minimum, backoff maximum, silence, all in milliseconds.
 * Answers [id, delivery, fields] for each.
 */
export const claimScript: RedisScript = {
  lua: `
    local taken, from = {}, '-'
    local most, min, max, silence = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
    while #taken < most do
      local page = redis.call('XPENDING', KEYS[1], ARGV[1], from, '+', 100)
      for _, entry in ipairs(page) do
        local id, owner, idle, deliveries = entry[1], entry[2], entry[3], entry[4]
        local wait = silence
        if owner == '${failedConsumer}' then wait = math.min(max, min * 2 ^ math.min(deliveries - 1, 30)) end
        if idle >= wait and #taken < most then
          local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id)
          if claimed[1] and claimed[1][2] then
            table.insert(taken, { id, deliveries + 1, claimed[1][2] })
          else
            redis.call('XACK', KEYS[1], ARGV[1], id)
          end
        end
        from = '(' .. id
      end
      if #page < 100 then break end
    end
    return taken`,
}

const ifMine = `
    local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
    if not held[1] or held[1][2] ~= ARGV[2] then return 0 end`

/** Tells that a delivery is still being worked on. Answers 0 when it is no longer ours. ARGV: group, consumer, id. */
export const extendScript: RedisScript = {
  lua: `${ifMine}
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'JUSTID')
    return 1`,
}

/** Settles an event and forgets it. ARGV: group, consumer, id. */
export const ackScript: RedisScript = {
  lua: `
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
    redis.call('XDEL', KEYS[1], ARGV[3])
    return 1`,
}

/** Puts a failed event back; its backoff starts now. Not counted as a delivery. ARGV: group, consumer, id. */
export const failScript: RedisScript = {
  lua: `${ifMine}
    redis.call('XCLAIM', KEYS[1], ARGV[1], '${failedConsumer}', 0, ARGV[3], 'JUSTID')
    return 1`,
}

/** Moves an event to the dead letters. KEYS: stream, dead letters. ARGV: group, consumer, id, event, attempts, error. */
export const deadLetterScript: RedisScript = {
  lua: `${ifMine}
    redis.call('XADD', KEYS[2], '*', 'event', ARGV[4], 'attempts', ARGV[5], 'error', ARGV[6])
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
    redis.call('XDEL', KEYS[1], ARGV[3])
    return 1`,
}

/** Delivers a dead letter again. Answers 0 when somebody else did. KEYS: stream, dead letters. ARGV: id, event. */
export const redriveScript: RedisScript = {
  lua: `
    if redis.call('XDEL', KEYS[2], ARGV[1]) == 0 then return 0 end
    redis.call('XADD', KEYS[1], '*', 'event', ARGV[2])
    return 1`,
}
