package stream

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Limits bound what a ledger keeps. They decide what is evicted and refused, so
// they must be the same on every member: they travel in the log (AppendLimits).
// A zero field means its default.
type Limits struct {
	CacheBytes    int64         // messages in the cache, with 32 bytes of bookkeeping each, and as much again of what was logged meanwhile and is no message; default 256 MiB
	CacheMessages int64         // messages in the cache; default 16 Mi, at most 1 Gi
	CacheAge      time.Duration // age of the oldest message in the cache; default 24 h
	SubjectAge    time.Duration // how long a silent subject without a retained message and a silent publisher are remembered; default 7 days, not below CacheAge
	Subjects      int           // subjects remembered; default 4 Mi
	Publishers    int           // publishers remembered; default 256 Ki; beyond it one that was silent for long is forgotten
	RetainedBytes int64         // retained messages; default 1 GiB
	SubjectBytes  int64         // names of subjects; default 256 MiB
	Sessions      int           // sessions kept, connected and offline; default 1 Mi
	SessionBytes  int64         // their filters, wills and states, with 160 bytes of bookkeeping each and 40 a filter; default 512 MiB
}

// WithDefaults gives l with the default of every field that is zero, as a ledger
// has it.
func (l Limits) WithDefaults() Limits {
	set := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.CacheBytes, 256<<20)
	set(&l.CacheMessages, 16<<20)
	set((*int64)(&l.CacheAge), int64(24*time.Hour))
	set((*int64)(&l.SubjectAge), int64(max(7*24*time.Hour, l.CacheAge)))
	set(&l.RetainedBytes, 1<<30)
	set(&l.SubjectBytes, 256<<20)
	set(&l.SessionBytes, 512<<20)
	if l.Subjects == 0 {
		l.Subjects = 4 << 20
	}
	if l.Publishers == 0 {
		l.Publishers = 256 << 10
	}
	if l.Sessions == 0 {
		l.Sessions = 1 << 20
	}
	return l
}

// Validate says in one sentence which field is out of its range.
func (l Limits) Validate() error {
	l = l.WithDefaults()
	for _, c := range []struct {
		ok   bool
		text string
	}{
		{l.CacheBytes >= 64<<10, "cache bytes must be at least 65536"},
		{l.CacheMessages >= 1 && l.CacheMessages <= 1<<30, "cache messages must be 1 to 1073741824"},
		{l.CacheAge >= time.Second, "cache age must be at least 1s"},
		{l.SubjectAge >= l.CacheAge, "subject age must not be below the cache age"},
		{l.Subjects >= 1 && l.Subjects <= 1<<30, "subjects must be 1 to 1073741824"},
		{l.Publishers >= 16 && l.Publishers <= 1<<30, "publishers must be 16 to 1073741824"},
		{l.RetainedBytes >= 1, "retained bytes must be positive"},
		{l.Sessions >= 1 && l.Sessions <= 1<<30, "sessions must be 1 to 1073741824"},
		{l.SubjectBytes >= 1, "subject bytes must be positive"},
		{l.SessionBytes >= 1, "session bytes must be positive"},
	} {
		if !c.ok {
			return fmt.Errorf("stream: %s", c.text)
		}
	}
	return nil
}

// limitWords is how many limits there are. Later versions add theirs at the end.
const limitWords = 10

// words gives the fields in the order of the wire and the snapshot.
func (l *Limits) words() [limitWords]uint64 {
	return [limitWords]uint64{
		uint64(l.CacheBytes), uint64(l.CacheMessages), uint64(l.CacheAge), uint64(l.SubjectAge),
		uint64(l.Subjects), uint64(l.Publishers), uint64(l.RetainedBytes),
		uint64(l.SubjectBytes), uint64(l.Sessions), uint64(l.SessionBytes),
	}
}

// limitsOf gives the limits of n words. Those that an older version did not write
// have their defaults; those that this version does not know it cannot keep.
func limitsOf(n uint64, next func() uint64) (Limits, error) {
	if n > limitWords {
		return Limits{}, fmt.Errorf("%d limits, of which this version knows %d: it is of a newer version", n, limitWords)
	}
	var w [limitWords]uint64
	for i := range n {
		w[i] = next()
	}
	l := Limits{
		CacheBytes: int64(w[0]), CacheMessages: int64(w[1]),
		CacheAge: time.Duration(w[2]), SubjectAge: time.Duration(w[3]),
		Subjects: int(w[4]), Publishers: int(w[5]), RetainedBytes: int64(w[6]),
		SubjectBytes: int64(w[7]), Sessions: int(w[8]), SessionBytes: int64(w[9]),
	}
	return l.WithDefaults(), l.Validate()
}

// AppendLimits appends an entry that sets a ledger's limits: u64 each, in the
// order of words.
func AppendLimits(b []byte, l Limits) []byte {
	l = l.WithDefaults()
	b = append(b, entryVersion, entryLimits)
	b = append(b, make([]byte, entryHeader-2)...)
	for _, w := range l.words() {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	return b
}

func parseLimits(b []byte) (Limits, error) {
	if len(b)%8 != 0 {
		return Limits{}, fmt.Errorf("%w: limits of %d bytes", ErrEntry, len(b))
	}
	l, err := limitsOf(uint64(len(b)/8), func() (w uint64) {
		w, b = binary.BigEndian.Uint64(b), b[8:]
		return w
	})
	if err != nil {
		return Limits{}, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	return l, nil
}
