package bridge

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/nackmq/nackmq/stream"
)

// A session's state is what the log keeps for the bridge beside the filters:
//
//	version  u8       2
//	clean    u8       1: its connection had ended when it was written
//	cursor   uvarint  index up to which the session was served
//	seen     uvarint  head of the log when it was written
//	lost     count uvarint, count × (first uvarint, last uvarint)
//	owed     count uvarint, count × name of a filter whose retained messages are due
//	again    count uvarint, count × (name of a filter, after uvarint, at uvarint): it
//	         is to be sent what came after one index up to the other; at 0: up to
//	         where the filter begins. Version 1 has none.
//	sent     count uvarint, count × delivery that is not acknowledged, in order
//
//	delivery: index uvarint
//	          bits u8          QoS in bits 0, 1; retain, released, rare, where
//	          rare: ids (count uvarint, count × uvarint), group, subject
//
// Names, groups and subjects are a uvarint length and bytes.
const (
	stateVersion = 2

	stateRetain   = 1 << 2
	stateReleased = 1 << 3
	stateRare     = 1 << 4
	stateWhere    = 1 << 5
)

// A filter's options in the log: QoS in bits 0 and 1, the bits below, and from bit
// 8 on the subscription identifier of MQTT 5.
const (
	optionNoLocal  = 1 << 2
	optionRetain   = 1 << 3 // retain as published
	optionRetained = 1 << 4 // it was to bring the retained messages
	optionPosition = 1 << 5 // its deliveries say where they are
	optionID       = 8
)

func (s *subscription) options(retained bool) uint64 {
	o := uint64(s.qos) | uint64(s.id)<<optionID
	if s.noLocal {
		o |= optionNoLocal
	}
	if s.retainAsPublished {
		o |= optionRetain
	}
	if s.position {
		o |= optionPosition
	}
	if retained {
		o |= optionRetained
	}
	return o
}

// subscriptionOf gives the subscription that the log has as f; false: its name is
// no filter.
func subscriptionOf(f *stream.SessionFilter, s *session) (*subscription, bool) {
	group, filter, ok := splitFilter(f.Name)
	if !ok {
		return nil, false
	}
	return &subscription{
		session: s, name: f.Name, group: group, filter: filter, since: f.Since,
		id: uint32(f.Options >> optionID), qos: byte(f.Options & 3),
		noLocal: f.Options&optionNoLocal != 0, retainAsPublished: f.Options&optionRetain != 0,
		position: f.Options&optionPosition != 0,
	}, true
}

// state appends the session's state to b; head is the log's.
func (s *session) state(b []byte, cursor, head stream.Index, clean bool) []byte {
	b = append(b, stateVersion, 0)
	if clean {
		b[len(b)-1] = 1
	}
	b = binary.AppendUvarint(b, uint64(cursor))
	b = binary.AppendUvarint(b, uint64(head))
	b = binary.AppendUvarint(b, uint64(len(s.lost)))
	for _, r := range s.lost {
		b = binary.AppendUvarint(b, uint64(r.first))
		b = binary.AppendUvarint(b, uint64(r.last))
	}
	b = s.appendJobs(b)
	count := 0
	for i := s.out.head; i != s.out.tail; i++ {
		if s.out.at(i).state != sentDone {
			count++
		}
	}
	b = binary.AppendUvarint(b, uint64(count))
	for i := s.out.head; i != s.out.tail; i++ {
		e := s.out.at(i)
		if e.state == sentDone {
			continue
		}
		bits := e.qos
		if e.retain {
			bits |= stateRetain
		}
		if e.where {
			bits |= stateWhere
		}
		if e.state != sentPublish {
			bits |= stateReleased
		}
		if e.rare != nil {
			bits |= stateRare
		}
		b = append(binary.AppendUvarint(b, uint64(e.index)), bits)
		if r := e.rare; r != nil {
			b = binary.AppendUvarint(b, uint64(len(r.ids)))
			for _, id := range r.ids {
				b = binary.AppendUvarint(b, uint64(id))
			}
			b = appendText(appendText(b, r.group), string(r.subject))
		}
	}
	return b
}

func (s *session) appendJobs(b []byte) []byte {
	again := len(s.begins)
	for _, j := range s.jobs {
		again += b2i(j.again)
	}
	b = binary.AppendUvarint(b, uint64(len(s.jobs)+len(s.begins)-again))
	for _, j := range s.jobs {
		if !j.again {
			b = appendText(b, j.name)
		}
	}
	b = binary.AppendUvarint(b, uint64(again))
	add := func(name string, after, at stream.Index) {
		b = appendText(b, name)
		b = binary.AppendUvarint(b, uint64(after))
		b = binary.AppendUvarint(b, uint64(at))
	}
	for _, j := range s.jobs {
		if j.again {
			add(j.name, j.after, j.at)
		}
	}
	for name, after := range s.begins {
		add(name, after, 0)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errState = errors.New("bridge: the state of a session is unreadable")

// restore fills a new session from its record in the log.
func (s *session) restore(rec *stream.Session, head stream.Index) error {
	s.cursor, s.unsure = head, head
	owed, seen, clean := []string(nil), stream.Index(0), false
	var again []*job
	if len(rec.State) > 0 {
		var err error
		if owed, again, seen, clean, err = s.readState(rec.State); err != nil {
			return err
		}
		if clean {
			s.unsure = 0
		}
	} else {
		for i := range rec.Filters { // nothing was saved since it began
			s.cursor = min(s.cursor, rec.Filters[i].Since)
		}
	}
	for i := range rec.Filters {
		f := &rec.Filters[i]
		sub, ok := subscriptionOf(f, s)
		if !ok {
			return fmt.Errorf("%w: %q is no filter", errState, f.Name)
		}
		s.subs[f.Name] = sub
		s.subBytes += len(f.Name)
		if slices.Contains(owed, f.Name) || !clean && f.Options&optionRetained != 0 && f.Since >= seen {
			s.jobs = append(s.jobs, &job{name: f.Name, at: max(s.cursor, f.Since)})
		}
		for _, j := range again {
			if j.name != f.Name {
				continue
			}
			if j.at == 0 {
				j.at = max(s.cursor, f.Since)
			}
			sub.since = max(sub.since, j.at)
			s.jobs = append(s.jobs, j)
		}
	}
	slices.SortFunc(s.jobs, func(a, b *job) int { return cmp.Compare(a.at, b.at) })
	for _, id := range rec.Pending {
		s.in.ids[id] = &received{committed: true}
	}
	s.saved = s.cursor
	return nil
}

// A stateReader takes values from the front of a state. After the first that is not
// there err is set, and it gives zeros.
type stateReader struct {
	b   []byte
	err error
}

func (r *stateReader) fail() { r.err, r.b = errState, nil }

func (r *stateReader) num() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *stateReader) index() stream.Index { return stream.Index(r.num()) }

// count takes a number of things of a byte at least.
func (r *stateReader) count() uint64 {
	n := r.num()
	if n > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return n
}

func (r *stateReader) text() string {
	n := r.count()
	t := string(r.b[:n])
	r.b = r.b[n:]
	return t
}

func (r *stateReader) u8() (v byte) {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v, r.b = r.b[0], r.b[1:]
	return v
}

func (s *session) readState(b []byte) (owed []string, again []*job, seen stream.Index, clean bool, err error) {
	if len(b) < 2 || b[0] == 0 || b[0] > stateVersion {
		return nil, nil, 0, false, fmt.Errorf("%w: it is of another version", errState)
	}
	version := b[0]
	clean = b[1] == 1
	r := stateReader{b: b[2:]}
	s.cursor, seen = r.index(), r.index()
	for n := r.count(); n > 0 && r.err == nil; n-- {
		s.lost.add(span{r.index(), r.index()})
	}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		owed = append(owed, r.text())
	}
	if version > 1 {
		for n := r.count(); n > 0 && r.err == nil; n-- {
			again = append(again, &job{again: true, name: r.text(), after: r.index(), at: r.index()})
		}
	}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		e := sent{index: r.index(), state: sentPublish}
		bits := r.u8()
		e.qos, e.retain, e.where = bits&3, bits&stateRetain != 0, bits&stateWhere != 0
		if bits&stateReleased != 0 {
			e.state = sentReleased
		}
		if bits&stateRare != 0 {
			e.rare = new(rareSent)
			for k := r.count(); k > 0 && r.err == nil; k-- {
				e.rare.ids = append(e.rare.ids, uint32(r.num()))
			}
			e.rare.group, e.rare.subject = r.text(), stream.Subject(r.text())
		}
		if r.err == nil {
			s.out.push(e)
		}
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%w: %d bytes behind it", errState, len(r.b))
	}
	return owed, again, seen, clean, r.err
}

// filtersOf gives the wishes that are granted as the log keeps them.
func filtersOf(wishes []wish) (fs []stream.SessionFilter) {
	for _, w := range wishes {
		if w.sub != nil {
			fs = append(fs, stream.SessionFilter{Name: w.sub.name, Options: w.sub.options(w.retained)})
		}
	}
	return fs
}
