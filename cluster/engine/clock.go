package engine

import "time"

// Now is a moment as the member's own clocks tell it.
type Now struct {
	Mono time.Duration // runs evenly from some moment on; never goes back
	Wall int64         // Unix milliseconds; may jump
}

// A LogClock gives the times that a leader writes into entries. They never
// decrease along the log. It runs with the monotonic clock and moves towards the
// wall clock by slewing it, at most a tenth faster or slower, so that a wall
// clock that jumps by a day neither ages the cache by a day nor stops time.
//
// A member that follows keeps its LogClock at the leader's time, so that a change
// of leader is no jump either. The zero LogClock wants Start or Observe first.
type LogClock struct {
	at   int64 // log time in nanoseconds …
	mono time.Duration
}

// slew is the part of the time gone by which the clock is corrected at most.
const slew = 10

// Start sets the clock of a member that leads and has followed nobody since it
// started, last being the time of the last entry. How long it was away only its wall clock can say; if that is
// before last, time goes on from last.
func (c *LogClock) Start(last int64, now Now) {
	c.at = max(last, now.Wall) * int64(time.Millisecond)
	c.mono = now.Mono
}

// Observe sets the clock to the time of an entry that another member has led.
func (c *LogClock) Observe(t int64, now Now) {
	c.at = t * int64(time.Millisecond)
	c.mono = now.Mono
}

// Pass sees to it that the clock is not behind the last entry's time.
func (c *LogClock) Pass(last int64) { c.at = max(c.at, last*int64(time.Millisecond)) }

// Time gives the time for an entry, Unix milliseconds.
func (c *LogClock) Time(now Now) int64 {
	gone := max(int64(now.Mono-c.mono), 0)
	c.mono = max(c.mono, now.Mono)
	c.at += gone
	off := now.Wall*int64(time.Millisecond) - c.at
	c.at += min(max(off, -gone/slew), gone/slew)
	return c.at / int64(time.Millisecond)
}
