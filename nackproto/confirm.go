package nackproto

import (
	"fmt"
	"strings"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// A Run is the outcome of Count publishes in a row.
type Run struct {
	Code  PublishCode
	Count uint64
	// Position is that of the first; the others follow it, seq by seq. Zero: the
	// place was given once and is no longer known. Only if Code is Placed.
	Position stream.Position
	// Retry is how long to wait before they are sent again. Only if
	// Code.MayRepeat; whole milliseconds.
	Retry time.Duration
}

// Confirm says how publishes ended, all from Number on and none left out.
// PROTOCOL.md §5.14.
//
//	number  uvarint  of the first publish
//	runs, at least one, to the end:
//	  code   u8
//	  count  uvarint  not 0
//	  epoch  u64      if PLACED
//	  seq    uvarint  if PLACED
//	  retry  uvarint  if the code may be repeated: milliseconds
type Confirm struct {
	Number uint64
	Runs   []Run
}

func (*Confirm) fromServer() {}

// Type gives TypeConfirm.
func (*Confirm) Type() Type { return TypeConfirm }

// AppendTo appends the frame.
func (f *Confirm) AppendTo(b []byte) []byte {
	b, start := begin(b, TypeConfirm)
	b = appendUvarint(b, f.Number)
	for _, run := range f.Runs {
		b = append(b, byte(run.Code))
		b = appendUvarint(b, run.Count)
		switch {
		case run.Code == Placed:
			b = appendU64(b, uint64(run.Position.Epoch))
			b = appendUvarint(b, uint64(run.Position.Seq))
		case run.Code.MayRepeat():
			b = appendUvarint(b, uint64(run.Retry/time.Millisecond))
		}
	}
	return end(b, start)
}

// Add adds one outcome behind the others, in the run before if it fits there.
func (f *Confirm) Add(code PublishCode, at stream.Position, retry time.Duration) {
	if n := len(f.Runs); n > 0 {
		last := &f.Runs[n-1]
		next := stream.Position{Epoch: last.Position.Epoch, Seq: last.Position.Seq + stream.Seq(last.Count)}
		if last.Position.IsZero() {
			next = stream.Position{}
		}
		if last.Code == code && (code != Placed || at == next) && last.Retry == retry {
			last.Count++
			return
		}
	}
	f.Runs = append(f.Runs, Run{Code: code, Count: 1, Position: at, Retry: retry})
}

func (f *Confirm) decode(r *reader) {
	r.at = "number"
	if f.Number = r.uvarint(); f.Number == 0 {
		r.fail("number is zero")
	}
	r.at = "runs"
	for first := true; first && r.bad == "" || r.more(); first = false {
		run := Run{Code: PublishCode(r.u8()), Count: r.uvarint()}
		if run.Count == 0 {
			r.fail("run is empty")
		}
		switch {
		case run.Code == Placed:
			run.Position.Epoch = stream.Epoch(r.u64())
			run.Position.Seq = stream.Seq(r.uvarint())
			if (run.Position.Epoch == 0) != (run.Position.Seq == 0) {
				r.fail("epoch without seq")
			}
		case run.Code.MayRepeat():
			run.Retry = r.milliseconds()
		}
		f.Runs = append(f.Runs, run)
	}
}

// String gives the text form.
func (f *Confirm) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "CONFIRM number=%d", f.Number)
	for _, run := range f.Runs {
		fmt.Fprintf(&s, " %dx%v", run.Count, run.Code)
		switch {
		case run.Code == Placed && !run.Position.IsZero():
			fmt.Fprintf(&s, "@%v", run.Position)
		case run.Code.MayRepeat():
			fmt.Fprintf(&s, " retry=%v", run.Retry)
		}
	}
	return s.String()
}
