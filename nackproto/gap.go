package nackproto

import (
	"time"

	"github.com/nackmq/nackmq/stream"
)

// Timing of NACKs. PROTOCOL.md §6.5, §9.
const (
	nackDelay  = 20 * time.Millisecond
	nackRepeat = time.Second
	nackTries  = 6
	// nackBurst is how many NACKs go out at a time, nackPause how long the others
	// wait: half of what a server takes.
	nackBurst = 50
	nackPause = time.Second
)

// A gap is what is missing of a subject: all after its position up to upto.
type gap struct {
	upto    stream.Seq // the newest seq known to exist; zero: nothing is missing
	tries   int        // NACKs sent without any progress since
	at      time.Time  // of the next NACK, or of giving up
	resumes bool       // CONTINUOUS came too early: tell of it when the gap closes
	slot    int        // in gaps.list
}

// gaps are the subjects of which something is missing.
type gaps struct {
	list []*tracked
	next time.Time // the earliest gap.at, or earlier; zero if list is empty
}

// open notes that messages up to upto exist that were not delivered.
func (g *gaps) open(now time.Time, t *tracked, upto stream.Seq) {
	if t.gap.upto == 0 {
		t.gap.at = now.Add(nackDelay)
		t.gap.slot = len(g.list)
		g.list = append(g.list, t)
		g.next = earlier(g.next, t.gap.at)
	}
	t.gap.upto = max(t.gap.upto, upto)
	t.recovered = max(t.recovered, upto)
}

func (g *gaps) close(t *tracked) {
	if t.gap.upto == 0 {
		return
	}
	last := len(g.list) - 1
	g.list[t.gap.slot] = g.list[last]
	g.list[t.gap.slot].gap.slot = t.gap.slot
	g.list[last] = nil
	g.list = g.list[:last]
	t.gap = gap{}
	if len(g.list) == 0 {
		g.list, g.next = nil, time.Time{}
	}
}

func (g *gaps) closeAll() {
	for _, t := range g.list {
		t.gap = gap{}
	}
	*g = gaps{}
}

// narrow notes that a message that was missing came.
func (s *ClientSession) narrow(now time.Time, t *tracked) {
	if last := t.tracker.Last(); last.Seq >= t.gap.upto {
		resumes := t.gap.resumes
		s.subjects.gaps.close(t)
		if resumes {
			s.tell(&Continued{t.name, last, t.subs})
		}
		return
	}
	if t.gap.tries > 0 {
		t.gap.tries = 1
		t.gap.at = now.Add(nackRepeat)
	}
}

// nackDue sends the NACKs that are due, and gives up where six were in vain.
// PROTOCOL.md §6.5.
func (s *ClientSession) nackDue(now time.Time) {
	g := &s.subjects.gaps
	if g.next.IsZero() || now.Before(g.next) {
		return
	}
	var vain []*tracked
	sent := 0
	g.next = time.Time{}
	for _, t := range g.list {
		switch {
		case t.alias == 0 || now.Before(t.gap.at):
			// Without an alias there is nothing to say: SUBJECT comes first.
			if t.alias == 0 {
				t.gap.at = now.Add(nackRepeat)
			}
		case t.gap.tries == nackTries:
			vain = append(vain, t)
			continue
		case sent == nackBurst:
			t.gap.at = now.Add(nackPause)
		default:
			last := t.tracker.Last()
			s.out = append(s.out, &Nack{t.alias, last.Epoch, last.Seq, t.gap.upto})
			t.gap.at = now.Add(nackRepeat << t.gap.tries)
			t.gap.tries++
			sent++
		}
		g.next = earlier(g.next, t.gap.at)
	}
	for _, t := range vain {
		s.giveUp(t)
	}
}

// giveUp tells that what is missing stays missing, once, and goes on behind it.
func (s *ClientSession) giveUp(t *tracked) {
	before := t.tracker.Last()
	at := stream.Position{Epoch: before.Epoch, Seq: t.gap.upto}
	s.subjects.settle(t)
	t.tracker.Reset(at)
	s.tell(&Lost{Subject: t.name, Reason: Unrepaired, Before: before, Next: next(at), Subs: t.subs})
}
