package engine

import (
	"testing"
	"time"
)

func TestLogClock(t *testing.T) {
	const start = int64(1_800_000_000_000)
	const day = int64(24 * time.Hour / time.Millisecond)
	type at struct {
		mono time.Duration
		wall int64 // since start
		want int64 // since start
	}
	for name, tt := range map[string]struct {
		last int64 // since start
		at   []at
	}{
		"both clocks agree": {-5, []at{{0, 0, 0}, {time.Second, 1000, 1000}, {time.Minute, 60_000, 60_000}}},
		"wall jumps a day ahead: a tenth faster": {-5, []at{
			{time.Second, 1000, 1000}, {2 * time.Second, day, 2100}, {12 * time.Second, day + 10_000, 13_100}}},
		"wall jumps a day back: a tenth slower, never still": {-5, []at{
			{time.Second, 1000, 1000}, {2 * time.Second, -day, 1900}, {12 * time.Second, -day + 10_000, 10_900}}},
		"a small correction is finished, not overshot": {-5, []at{
			{time.Second, 1050, 1050}, {2 * time.Second, 2050, 2050}, {3 * time.Second, 2950, 2950}}},
		"asked twice in a moment": {-5, []at{{time.Second, 1000, 1000}, {time.Second, 900, 1000}, {time.Second, 5000, 1000}}},
		"asked often, the tenth is kept": {-5, []at{
			{time.Millisecond, day, 1}, {10 * time.Millisecond, day, 11}, {100 * time.Millisecond, day, 110}}},
		"restarted with a wall clock behind the log": {day, []at{{0, 0, day}, {10 * time.Second, 10_000, day + 9000}}},
		"restarted with the clock of a board without a battery": {0, []at{
			{0, -start, 0}, {time.Second, 1000 - start, 900}}},
		"restarted after a night": {-day / 2, []at{{0, 0, 0}, {time.Second, 1000, 1000}}},
	} {
		t.Run(name, func(t *testing.T) {
			var c LogClock
			first := int64(0)
			if len(tt.at) > 0 && tt.at[0].mono == 0 {
				first = tt.at[0].wall
			}
			c.Start(start+tt.last, Now{Wall: start + first})
			for _, a := range tt.at {
				if got := c.Time(Now{a.mono, start + a.wall}) - start; got != a.want {
					t.Errorf("at %v, wall %+d ms: got %+d ms, want %+d ms", a.mono, a.wall, got, a.want)
				}
			}
		})
	}
}

// A member that takes over goes on from its leader's time, not from its own wall
// clock's, which may be a day off.
func TestLogClockTakesOver(t *testing.T) {
	var c LogClock
	c.Start(0, Now{Wall: 5_000})
	c.Observe(90_000_000, Now{Mono: 10 * time.Second, Wall: 15_000})
	if got := c.Time(Now{Mono: 20 * time.Second, Wall: 25_000}); got != 90_009_000 {
		t.Errorf("10 s after an entry of 90,000,000: got %d, want 90,009,000", got)
	}
}

func TestLogClockNeverDecreases(t *testing.T) {
	var c LogClock
	c.Start(0, Now{Wall: 1 << 40})
	last, mono, wall := int64(0), time.Duration(0), int64(1<<40)
	rnd := uint64(1)
	for range 100_000 {
		rnd = rnd*6364136223846793005 + 1442695040888963407
		mono += time.Duration(rnd >> 40)
		wall += int64(rnd>>33)%200_000_000 - 100_000_000
		got := c.Time(Now{mono, wall})
		if got < last {
			t.Fatalf("time went back from %d to %d", last, got)
		}
		last = got
	}
}
