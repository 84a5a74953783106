package stream

// A Verdict is what a receiver makes of the position of a message.
type Verdict uint8

const (
	Deliver   Verdict = iota // the next one: hand it out
	Duplicate                // seen before: drop it
	Gap                      // messages before it are missing: ask for them
	Other                    // another epoch: its history is not the one followed
)

func (v Verdict) String() string {
	switch v {
	case Deliver:
		return "deliver"
	case Duplicate:
		return "duplicate"
	case Gap:
		return "gap"
	case Other:
		return "other"
	}
	return "unknown"
}

// A Tracker follows one subject at the receiver's end. It holds a position and
// no messages. The zero Tracker has seen nothing: the first message of any
// history with seq 1 is its next one; Reset makes it join later.
type Tracker struct{ last Position }

// Last gives the position up to which everything was delivered.
func (t *Tracker) Last() Position { return t.last }

// Reset makes last the position up to which everything was delivered, whatever
// was before.
func (t *Tracker) Reset(last Position) { t.last = last }

// Observe judges a message at p. Deliver moves the tracker on; the others leave
// it where it is.
func (t *Tracker) Observe(p Position) Verdict {
	switch {
	case p.Epoch != t.last.Epoch && !t.last.IsZero():
		return Other
	case p.Seq <= t.last.Seq:
		return Duplicate
	case p.Seq > t.last.Seq+1:
		return Gap
	}
	t.last = p
	return Deliver
}
