package session

import "github.com/nackmq/nackmq/stream"

// An ID names a session of a Core: the slot it lives in and how often the slot
// was given away. An ID is never used again, so an answer that comes late, for a
// session that is gone, finds nobody. Zero is no session.
type ID uint64

func makeID(gen, slot uint32) ID { return ID(gen)<<32 | ID(slot) }

// Slot gives a small number that only one living session of the core has: a
// driver may use it as an index.
func (id ID) Slot() int { return int(uint32(id)) }

func (id ID) gen() uint32 { return uint32(id >> 32) }

// flags are what a session's record says of its state.
type flags uint16

const (
	inUse    flags = 1 << iota
	greeted        // HELLO was accepted
	closing        // CLOSE is the last frame; nothing more is read or delivered
	inFlight       // the driver has a write that it did not complete
	full           // the driver took less than it was given: wait for Writable
	scanning       // behind: reads the log from cursor on
	queued         // in the queue of those who wait for a turn
	hasCold        // has an entry in Core.cold
	paused         // the driver was told not to read
	owes           // has confirmations to send
	turnGaps       // the next turn of a scanning session goes to its gaps
	survey         // the next heartbeat tells the top of whatever is not announced
	lapsed         // scanning, since the loop's reader was lapped: see Core.Lapped
)

// blocked are the flags of a session that cannot be written to right now.
const blocked = inFlight | full

// A record is what a session costs when it is well: it has no pointer, so the
// garbage collector does not look at it.
type record struct {
	gen       uint32
	flags     flags
	_         uint16
	follows   uint32       // the first of its follow records
	count     uint32       // of them
	wilds     uint32       // the first of its wildcard subscriptions
	subs      uint32       // how many subscriptions, exact ones too
	filters   uint32       // what their filters cost: see filterCost
	mark      uint32       // scratch of a batch: its place in batch.touched
	wrote     ticks        // when the driver last took bytes
	beat      ticks        // when the last heartbeat left
	next      uint32       // in the list of free slots
	cursor    stream.Index // while scanning: everything up to it was delivered
	beatIndex stream.Index // what the last heartbeat told
}

const slabPage = 1 << 10

// A slab holds the records in pages, so that growing copies nothing. Slot 0 is
// never given away.
type slab struct {
	pages []*[slabPage]record
	due   []ticks // by slot: when its record wants to be looked at; never: 0
	free  uint32
	used  uint32 // slots ever given away, and slot 0
	live  int
}

func (s *slab) at(slot uint32) *record { return &s.pages[slot/slabPage][slot%slabPage] }

// find gives the slot of id if it still lives.
func (s *slab) find(id ID) (uint32, *record) {
	slot := uint32(id)
	if slot == 0 || slot >= s.used {
		return 0, nil
	}
	if r := s.at(slot); r.gen == id.gen() && r.flags&inUse != 0 {
		return slot, r
	}
	return 0, nil
}

func (s *slab) id(slot uint32) ID { return makeID(s.at(slot).gen, slot) }

func (s *slab) take() uint32 {
	slot := s.free
	if slot != 0 {
		s.free = s.at(slot).next
	} else {
		slot = max(s.used, 1)
		s.used = slot + 1
		for int(slot/slabPage) >= len(s.pages) {
			s.pages = append(s.pages, new([slabPage]record))
		}
		for int(slot) >= len(s.due) {
			s.due = append(s.due, 0)
		}
	}
	r := s.at(slot)
	*r = record{gen: r.gen + 1, flags: inUse}
	s.live++
	return slot
}

func (s *slab) give(slot uint32) {
	r := s.at(slot)
	*r = record{gen: r.gen, next: s.free}
	s.due[slot] = 0
	s.free = slot
	s.live--
}
