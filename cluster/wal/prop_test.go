package wal

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

var seeds = flag.Int("wal.seeds", 100, "how many seeds the random tests run")

// model is what a log must hold.
type model struct {
	base, term uint64
	es         []Entry
	state      State
}

func (m *model) last() uint64 { return m.base + uint64(len(m.es)) }

func (m model) append(st *State, es []Entry) model {
	if st != nil {
		m.state = *st
	}
	if len(es) > 0 {
		m.es = append(slices.Clone(m.es[:es[0].Index-m.base-1]), es...)
	}
	return m
}

func (m model) compact(base uint64) model {
	m.term = m.es[base-m.base-1].Term
	m.es = m.es[base-m.base:]
	m.base = base
	return m
}

// differs says how a log differs from the model.
func (m *model) differs(l *Log) error {
	if l.First() != m.base+1 || l.Last() != m.last() {
		return fmt.Errorf("log holds %d to %d, want %d to %d", l.First(), l.Last(), m.base+1, m.last())
	}
	if l.State() != m.state {
		return fmt.Errorf("state is %v, want %v", l.State(), m.state)
	}
	if t, err := l.Term(m.base); err != nil || t != m.term {
		return fmt.Errorf("term of the base is %d, %v, want %d", t, err, m.term)
	}
	i := 0
	err := l.Replay(m.base+1, func(e Entry) error {
		if i >= len(m.es) || !same(e, m.es[i]) {
			return fmt.Errorf("entry %d differs", e.Index)
		}
		if t, err := l.Term(e.Index); err != nil || t != e.Term {
			return fmt.Errorf("term of %d is %d, %v, want %d", e.Index, t, err, e.Term)
		}
		i++
		return nil
	})
	if err == nil && i < len(m.es) {
		err = fmt.Errorf("replay gave %d entries, want %d", i, len(m.es))
	}
	return err
}

func same(a, b Entry) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Kind == b.Kind && string(a.Data) == string(b.Data)
}

var errPlanted = errors.New("planted fault")

// story runs a log over a failing disk by chance. Whatever happens, the log that is
// opened next equals what was confirmed, or that and the call that was cut short.
type story struct {
	r    *rand.Rand
	d    *MemDir
	cfg  Config
	l    *Log
	sure model
	or   *model // a call failed: it happened as a whole or not at all
	term uint64

	kills, crashes, repairs, refused int
}

func (s *story) plant() {
	n := s.r.IntN(6)
	s.d.OnWrite, s.d.OnSync, s.d.OnMake = nil, nil, nil
	switch s.r.IntN(4) {
	case 0:
		s.d.OnWrite = func(_ string, _ int64, size int) (int, error) {
			if n--; n == 0 {
				return s.r.IntN(size + 1), errPlanted
			}
			return size, nil
		}
	case 1:
		s.d.OnSync = func(string) error {
			if n--; n == 0 {
				return errPlanted
			}
			return nil
		}
	case 2:
		s.d.OnMake = func(string) error {
			if n--; n == 0 {
				return errPlanted
			}
			return nil
		}
	}
}

func (s *story) step() error {
	if s.r.IntN(8) == 0 {
		s.plant()
	}
	var err error
	next := s.sure
	switch k := s.r.IntN(40); {
	case k < 30:
		var st *State
		if s.r.IntN(3) == 0 {
			st = &State{s.term, s.r.Uint64N(5), s.r.Uint64N(s.sure.last() + 1)}
		}
		lo := s.sure.last() + 1
		if s.r.IntN(5) == 0 && len(s.sure.es) > 0 {
			lo = s.sure.base + 1 + s.r.Uint64N(uint64(len(s.sure.es)))
			s.term++
		}
		var es []Entry
		for i := range uint64(s.r.IntN(6)) {
			b := make([]byte, s.r.IntN(1+s.r.IntN(2000)))
			for i := range b {
				b[i] = byte(s.r.Uint32() >> 28) // zeros too
			}
			es = append(es, Entry{Index: lo + i, Term: s.term, Kind: uint8(s.r.IntN(3)), Data: b})
		}
		if s.r.IntN(50) == 0 {
			for range 3 { // a batch of several frames
				es = append(es, Entry{Index: lo + uint64(len(es)), Term: s.term, Data: make([]byte, 40<<10)})
			}
		}
		next = next.append(st, es)
		err = s.l.Append(st, es)
	case k < 34:
		if len(s.sure.es) == 0 {
			return nil
		}
		base := s.sure.base + 1 + s.r.Uint64N(uint64(len(s.sure.es)))
		next = next.compact(base)
		err = s.l.Compact(base)
	case k < 35:
		next = model{base: s.sure.last() + s.r.Uint64N(100), term: s.term, state: State{Term: s.term, Commit: 7}}
		err = s.l.Reset(next.base, next.term, next.state)
	case k < 37:
		_ = s.l.Close() // what a failing disk lost of it, reopening tells
		return s.reopen()
	case k < 38:
		s.kills++
		s.d.Kill()
		return s.reopen()
	case k < 39:
		s.crashes++
		s.d.Crash()
		return s.reopen()
	default:
		return s.l.FlushGuard()
	}
	if err == nil {
		s.sure = next
		return nil
	}
	if !errors.Is(err, errPlanted) {
		return fmt.Errorf("unplanted: %w", err)
	}
	if again := s.l.Append(&State{}, nil); again != err {
		return fmt.Errorf("a broken log says %v, want %v", again, err)
	}
	s.or = &next
	if s.r.IntN(2) == 0 {
		s.crashes++
		s.d.Crash()
	} else {
		s.kills++
		s.d.Kill()
	}
	return s.reopen()
}

func (s *story) reopen() error {
	for {
		l, rep, err := Open(s.d, s.cfg)
		if errors.Is(err, errPlanted) {
			s.refused++
			if s.r.IntN(2) == 0 {
				s.d.Crash()
			}
			s.plant()
			continue
		}
		if err != nil {
			return err
		}
		if rep.Repaired {
			s.repairs++
		}
		if s.l = l; s.or != nil && s.or.differs(l) == nil {
			s.sure = *s.or
		}
		s.or = nil
		return s.sure.differs(l)
	}
}

func TestStoriesOfAFailingDisk(t *testing.T) {
	var kills, crashes, repairs, refused int
	for seed := range uint64(*seeds) {
		src := rand.NewPCG(seed, 2)
		s := &story{r: rand.New(src), d: NewMemDir(src), cfg: Config{SegmentBytes: 4 << 10 << (seed % 3), ClusterID: 5, NodeID: 6}, term: 1}
		var err error
		if s.l, err = Create(s.d, s.cfg); err != nil {
			t.Fatal(err)
		}
		for n := range 200 {
			if err := s.step(); err != nil && !errors.Is(err, errPlanted) {
				t.Fatalf("seed %d, step %d: %v", seed, n, err)
			} else if err != nil { // FlushGuard
				t.Fatalf("seed %d, step %d: planted fault came through: %v", seed, n, err)
			}
		}
		if err := s.sure.differs(s.l); err != nil {
			t.Fatalf("seed %d, at the end: %v", seed, err)
		}
		kills, crashes, repairs, refused = kills+s.kills, crashes+s.crashes, repairs+s.repairs, refused+s.refused
	}
	t.Logf("%d kills, %d crashes, %d repairs, %d failures to open in between", kills, crashes, repairs, refused)
	if kills == 0 || crashes == 0 || repairs == 0 || refused == 0 {
		t.Error("the stories are too tame to say anything")
	}
}

func TestCreationCutShort(t *testing.T) {
	for seed := range uint64(*seeds) {
		src := rand.NewPCG(seed, 3)
		r, d := rand.New(src), NewMemDir(src)
		n := 1 + r.IntN(9)
		d.OnWrite = func(_ string, _ int64, size int) (int, error) {
			if n--; n <= 0 {
				return r.IntN(size + 1), errPlanted
			}
			return size, nil
		}
		d.OnSync = func(string) error {
			if n--; n <= 0 {
				return errPlanted
			}
			return nil
		}
		if _, err := Create(d, small); err != nil && !errors.Is(err, errPlanted) {
			t.Fatal(err)
		}
		d.Crash()
		d.OnWrite, d.OnSync = nil, nil
		l, _, err := Open(d, small)
		if errors.Is(err, ErrNoLog) {
			l, err = Create(d, small)
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := (&model{}).differs(l); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}
