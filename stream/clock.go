package stream

// A Clock tells the log's time between entries: the newest entry's time, and as
// much more as passed since that entry was seen. It is by this time alone that a
// message's life ends (Message.ExpiredAt). A wall clock would do it too early or
// too late by as much as it was stepped, or by as much as the leader's time is
// slewed behind it.
//
// It belongs to one loop, which asks it often: an entry that was not looked at for a
// while is taken for that much younger. The zero Clock is ready.
type Clock struct {
	newest int64 // the newest entry's time when it was seen first
	seen   int64 // when that was, by the loop's clock
}

// Time gives the log's time in Unix milliseconds. newest is the time of the newest
// entry (Ledger.Time), now the milliseconds of a clock of any origin that runs evenly
// and never goes back.
func (c *Clock) Time(newest, now int64) int64 {
	if newest != c.newest {
		c.newest, c.seen = newest, now
	}
	return c.newest + max(now-c.seen, 0)
}
