package broker_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nackmq/nackmq/broker"
)

func TestResultOf(t *testing.T) {
	for _, c := range []struct {
		err   error
		want  broker.Result
		name  string
		again bool
	}{
		{nil, broker.Placed, "placed", false},
		{broker.ErrNoQuorum, broker.NoQuorum, "no_quorum", true},
		{broker.ErrBusy, broker.Busy, "busy", true},
		{broker.ErrTooLarge, broker.TooLarge, "too_large", false},
		{broker.ErrRefused, broker.Refused, "refused", false},
		{broker.ErrStopped, broker.Stopped, "stopped", false},
		{errors.New("another"), broker.Failed, "failed", false},
		{fmt.Errorf("%w: too many subjects", broker.ErrRefused), broker.Refused, "refused", false},
	} {
		got := broker.ResultOf(c.err)
		if got != c.want || got.String() != c.name || got.MayRepeat() != c.again {
			t.Errorf("%v: %d %s, again %v; want %d %s, %v", c.err, got, got, got.MayRepeat(), c.want, c.name, c.again)
		}
	}
}
