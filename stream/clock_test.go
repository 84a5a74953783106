package stream

import "testing"

// The log's time is its newest entry's, and what passed since that was seen,
// whatever the wall clock says.
func TestClock(t *testing.T) {
	var c Clock
	for i, step := range []struct {
		newest, now, want int64
		why               string
	}{
		{5_000_000, 100, 5_000_000, "the first entry that is seen"},
		{5_000_000, 400, 5_000_300, "no entry came, but time passed"},
		{5_000_200, 450, 5_000_200, "the log's time ran more slowly than ours: the entry is right"},
		{5_000_200, 440, 5_000_200, "a clock that goes back all the same does not take time with it"},
		{5_090_000, 500, 5_090_000, "this member was asleep, or far behind"},
		{5_090_000, 501, 5_090_001, "and time goes on from there"},
	} {
		if got := c.Time(step.newest, step.now); got != step.want {
			t.Errorf("step %d, %s: got %d, want %d", i, step.why, got, step.want)
		}
	}
}
