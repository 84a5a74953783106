package nackproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/nackmq/nackmq/stream"
)

// ErrPositions is what NewClientSession wraps when it cannot read the stored
// positions: damaged, or written by another program.
var ErrPositions = errors.New("unreadable positions")

const positionsMagic = "NKP1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stored is what Positions wrote before a restart and no subscription has taken.
type stored struct {
	filters []storedFilter
	marks   []Mark
}

type storedFilter struct {
	filter  stream.Filter
	cluster stream.ClusterID
	index   stream.Index
}

func (st *stored) take(f stream.Filter) (storedFilter, bool) {
	i := slices.IndexFunc(st.filters, func(sf storedFilter) bool { return sf.filter == f })
	if i < 0 {
		return storedFilter{}, false
	}
	sf := st.filters[i]
	st.filters = slices.Delete(st.filters, i, i+1)
	return sf, true
}

func (st *stored) takeMarks(f stream.Filter) (ms []Mark) {
	st.marks = slices.DeleteFunc(st.marks, func(m Mark) bool {
		if !f.Match(m.Subject) {
			return false
		}
		ms = append(ms, m)
		return true
	})
	return ms
}

// Positions gives what NewClientSession needs to go on after a restart.
// PROTOCOL.md §12. The session's positions are those of the messages that
// PollEvent gave; untaken says, per subject, how far the application really is
// where that is less.
func (s *ClientSession) Positions(untaken map[stream.Subject]stream.Position) []byte {
	filters := slices.Clone(s.stored.filters)
	for _, sub := range s.subs {
		if sub.settled {
			filters = append(filters, storedFilter{sub.filter, sub.cluster, sub.index})
		}
	}
	marks := slices.Clone(s.stored.marks)
	for _, t := range s.subjects.all {
		p := t.tracker.Last()
		if u, ok := untaken[t.name]; ok {
			p = u
		}
		if p.Epoch != 0 {
			marks = append(marks, Mark{t.name, p})
		}
	}
	// A subject that was forgotten with a loss that nobody took yet.
	for _, name := range slices.Sorted(maps.Keys(untaken)) {
		if p := untaken[name]; s.subjects.byName[name] == nil && p.Epoch != 0 {
			marks = append(marks, Mark{name, p})
		}
	}
	b := append([]byte(nil), positionsMagic...)
	b = appendUvarint(b, uint64(len(filters)))
	for _, sf := range filters {
		b = appendString(b, string(sf.filter))
		b = appendU64(b, uint64(sf.cluster))
		b = appendUvarint(b, uint64(sf.index))
	}
	b = appendMarks(b, marks)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func parsePositions(b []byte) (stored, error) {
	var st stored
	if len(b) < len(positionsMagic)+4 || string(b[:4]) != positionsMagic {
		return st, fmt.Errorf("nackproto: %w: they do not begin with %q", ErrPositions, positionsMagic)
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return st, fmt.Errorf("nackproto: %w: the checksum does not fit", ErrPositions)
	}
	r := &reader{b: body[4:]}
	for n := r.uvarint(); n > 0 && r.bad == ""; n-- {
		f, err := stream.ParseFilter(string(r.bytes(stream.MaxSubject)))
		if err != nil {
			r.fail("not a filter")
		}
		st.filters = append(st.filters, storedFilter{f, stream.ClusterID(r.u64()), stream.Index(r.uvarint())})
	}
	st.marks = r.marks()
	if r.bad == "" && len(r.b) > 0 {
		r.bad = "trailing bytes"
	}
	if r.bad != "" {
		return stored{}, fmt.Errorf("nackproto: %w: %s", ErrPositions, r.bad)
	}
	return st, nil
}
