package stream

import "fmt"

// A ClusterID names a cluster for ever. It is drawn at random when the cluster
// is founded, and again when a cluster is founded anew on what was left of one.
type ClusterID uint64

// String gives 16 hexadecimal digits.
func (c ClusterID) String() string { return fmt.Sprintf("%016x", uint64(c)) }

// An Entry is what the members agreed on at Number, Raft's index of it. An entry
// without Data is Raft's own and changes nothing.
type Entry struct {
	Number uint64
	Data   []byte
}

// An Outcome is what became of an item.
type Outcome uint8

const (
	Placed          Outcome = iota // it has a new place
	Repeated                       // it has the place of the first; the zero Place if the cache no longer knows it
	TooManySubjects                // refused: Limits.Subjects or Limits.SubjectBytes
	TooMuchRetained                // refused: Limits.RetainedBytes
	PassedOver                     // refused: it has no place, and a later number of its publisher has one
	Resumed                        // an attachment: the session was there
	Fenced                         // refused: the session is gone, or attached anew
	NoSuchNumber                   // a release: no publication of that number is pending
	TooManySessions                // refused: Limits.Sessions or Limits.SessionBytes
)

func (o Outcome) String() string {
	switch o {
	case Placed:
		return "placed"
	case Repeated:
		return "repeated"
	case TooManySubjects:
		return "too many subjects"
	case TooMuchRetained:
		return "too much retained"
	case PassedOver:
		return "passed over"
	case Resumed:
		return "resumed"
	case Fenced:
		return "fenced"
	case NoSuchNumber:
		return "no such number"
	case TooManySessions:
		return "too many sessions"
	}
	return "unknown"
}

// A Place is what an item got. What happened to a session has no position; Index
// is then the newest message before it.
type Place struct {
	Position Position
	Index    Index
	Outcome  Outcome
	Fence    Fence // of an attachment
}

// Applied is what became of an entry. Places has one for each item, in order, and
// is valid until the next Apply.
type Applied struct {
	Origin Origin
	// Accepted is false when the batch is not the next one of its origin: it was
	// applied before, or one before it is missing. Its origin proposes again what
	// it still waits for.
	Accepted bool
	Places   []Place
}

// A Ledger gives every publication its place. It is deterministic (S1) and has
// no lock: its owner serializes.
type Ledger struct {
	cluster ClusterID
	limits  Limits
	applied uint64 // number of the last entry applied
	time    int64  // of the newest entry, Unix milliseconds

	cache         cache
	heads         pages[head]
	ids           map[Subject]uint32 // name to slot of heads
	publishers    pages[publisher]
	known         map[PublisherID]uint32 // to slot of publishers
	origins       map[NodeID]Origin      // the last batch applied, by node
	subjectBytes  int64                  // of names
	retainedBytes int64
	retainedCount int
	sessions      pages[Session]
	sessionIDs    map[string]uint32 // to slot of sessions
	sessionBytes  int64
	fence         Fence // the newest
	due           dueHeap
	willsRefused  int64
	sweepHeads    uint32 // the slots at which sweep goes on
	sweepKnown    uint32

	repeats repeats
	places  []Place
}

// A head is what is known of a subject. The zero head is a free slot.
type head struct {
	name     Subject
	epoch    Epoch
	last     Seq
	newest   Index // index of the newest message
	oldest   Index // index of the oldest message in the cache; 0: none
	time     int64 // of the newest message
	retained *retained
}

// A retained message is a copy, since it outlives the cache (S8).
type retained struct {
	item []byte
	seq  Seq
	at   Index
	time int64
}

// A publisher is known by the last number that was placed for it (S5).
type publisher struct {
	id     PublisherID
	number uint64
	newest Index // its newest message
	time   int64
}

// NewLedger gives the ledger of a cluster that has agreed on nothing yet.
func NewLedger(c ClusterID) *Ledger {
	return &Ledger{
		cluster:    c,
		limits:     Limits{}.WithDefaults(),
		ids:        make(map[Subject]uint32),
		known:      make(map[PublisherID]uint32),
		sessionIDs: make(map[string]uint32),
		origins:    make(map[NodeID]Origin),
	}
}

// Cluster, Limits, Applied and Time give what the ledger stands at. Time is the
// newest entry's, Unix milliseconds.
func (l *Ledger) Cluster() ClusterID { return l.cluster }
func (l *Ledger) Limits() Limits     { return l.limits }
func (l *Ledger) Applied() uint64    { return l.applied }
func (l *Ledger) Time() int64        { return l.time }

// Head gives the newest message's index, Tail the index before the oldest one in
// the cache.
func (l *Ledger) Head() Index { return l.cache.head }
func (l *Ledger) Tail() Index { return l.cache.tail }

// Floor gives the number of the newest entry up to which the cache holds
// nothing. A snapshot taken at entry n, with the log behind n, rebuilds the
// ledger and its cache when n <= Floor.
func (l *Ledger) Floor() uint64 {
	c := &l.cache
	if c.tail == c.head {
		return l.applied
	}
	return c.segs[0].note(c.tail+1).number - 1
}

// Apply applies e, whose number must be above the last one's. The error wraps
// ErrEntry: the entry is damaged or of a newer version, the ledger has not
// changed, and the member must stop rather than go on without it.
func (l *Ledger) Apply(e Entry) (Applied, error) {
	if e.Number <= l.applied {
		return Applied{}, fmt.Errorf("stream: apply of entry %d after %d: %w: out of order", e.Number, l.applied, ErrEntry)
	}
	if len(e.Data) == 0 {
		l.applied = e.Number
		return Applied{Accepted: true}, nil
	}
	h, body, err := parseHeader(e.Data)
	limits := l.limits
	if err == nil {
		switch h.kind {
		case entryBatch:
			err = checkItems(body, h.count)
		case entryLimits:
			limits, err = parseLimits(body)
		default:
			err = fmt.Errorf("%w: kind %d is of a newer version", ErrEntry, h.kind)
		}
	}
	if err != nil {
		return Applied{}, fmt.Errorf("stream: apply of entry %d: %w", e.Number, err)
	}
	l.applied, l.time, l.limits = e.Number, max(l.time, h.time), limits
	done, rest := Applied{Accepted: true}, len(e.Data)
	if h.kind == entryBatch {
		done, rest = l.applyBatch(&h, body)
		rest += entryHeader
	}
	l.cache.weigh(rest)
	l.trim()
	l.sweep(4 + len(done.Places)/4)
	return done, nil
}

// applyBatch places the items of a batch, which were checked. rest is how many of
// its bytes became no message.
func (l *Ledger) applyBatch(h *header, body []byte) (done Applied, rest int) {
	note := entryNote{number: l.applied, time: l.time}
	l.runDue(note)
	if !l.isNext(h.origin) {
		return Applied{Origin: h.origin}, len(body)
	}
	if h.origin.Node != 0 {
		l.origins[h.origin.Node] = h.origin
	}
	l.places = l.places[:0]
	for n := h.count; n > 0; n-- {
		var item []byte
		item, body, _ = cutBytes(body)
		if item[0]&hasOp != 0 {
			op, _ := parseOp(item)
			rest += len(item)
			l.places = append(l.places, l.applySession(&op, note))
			continue
		}
		it, _ := parseItem(item)
		p := l.place(item, &it, note)
		if p.Outcome != Placed {
			rest += len(item)
		}
		l.places = append(l.places, p)
	}
	return Applied{Origin: h.origin, Accepted: true, Places: l.places}, rest
}

// checkItems reads all items before the first is placed, so that a bad entry
// changes nothing.
func checkItems(b []byte, count int) (err error) {
	for ; count > 0; count-- {
		var item []byte
		if item, b, err = cutBytes(b); err != nil {
			return err
		}
		if len(item) > 0 && item[0]&hasOp != 0 {
			_, err = parseOp(item)
		} else {
			_, err = parsePublication(item)
		}
		if err != nil {
			return err
		}
	}
	if len(b) != 0 {
		return fmt.Errorf("%w: %d bytes behind the last item", ErrEntry, len(b))
	}
	return nil
}

// parsePublication reads an item that is to be placed.
func parsePublication(item []byte) (rawItem, error) {
	it, err := parseItem(item)
	if err == nil && (len(it.subject) < 2 || it.subject[0] != '/' || len(item) > MaxItemBytes) {
		err = fmt.Errorf("%w: item without a subject or above %d bytes", ErrEntry, MaxItemBytes)
	}
	return it, err
}

// isNext reports whether o comes right after the last batch of its origin.
func (l *Ledger) isNext(o Origin) bool {
	last, ok := l.origins[o.Node]
	switch {
	case o.Node == 0:
		return true
	case !ok || o.Life > last.Life:
		return o.Batch == 1
	case o.Life < last.Life:
		return false
	}
	return o.Batch == last.Batch+1
}

// place gives the item its place (S2–S5, S11).
func (l *Ledger) place(item []byte, it *rawItem, note entryNote) Place {
	if it.session != nil {
		if p, ok := l.pend(it); !ok {
			return p
		}
	}
	numbered := it.publisher != 0 && it.number != 0
	pslot, seen := uint32(0), false
	if numbered {
		if pslot, seen = l.known[it.publisher]; seen && it.number <= l.publishers.at(pslot).number {
			return l.placeOf(l.publishers.at(pslot), it.number)
		}
	}
	slot, exists := l.ids[Subject(it.subject)]
	if !exists && (len(l.ids) >= l.limits.Subjects || l.subjectBytes+int64(len(it.subject)) > l.limits.SubjectBytes) {
		return Place{Outcome: TooManySubjects}
	}
	if it.flags&Retain != 0 && len(it.payload) > 0 {
		more := int64(len(item))
		if exists {
			more -= l.heads.at(slot).retained.size()
		}
		if l.retainedBytes+more > l.limits.RetainedBytes {
			return Place{Outcome: TooMuchRetained}
		}
	}
	index := l.cache.head + 1
	if !exists {
		slot = l.heads.take()
		*l.heads.edit(slot) = head{name: Subject(it.subject), epoch: epochOf(l.cluster, index)}
		l.ids[l.heads.at(slot).name] = slot
		l.subjectBytes += int64(len(it.subject))
	}

	h := l.heads.edit(slot)
	r := rec{seq: h.last + 1, id: SubjectID(slot)}
	if l.cache.holds(h.newest) {
		r.prev = uint32(index - h.newest)
		l.cache.rec(h.newest).next = r.prev
	}
	if numbered {
		r.byPub = l.number(it, pslot, seen, index, note.time)
	}
	l.cache.append(item, note, r, l.segmentBytes())
	h.last, h.newest, h.time = r.seq, index, note.time
	if h.oldest == 0 {
		h.oldest = index
	}
	if it.flags&Retain != 0 {
		l.retain(h, item, it, index, note.time)
	}
	if it.session != nil {
		l.pended(it)
	}
	return Place{Position: Position{h.epoch, h.last}, Index: index}
}

// number notes that the item at index is its publisher's newest, and gives the
// distance to the one before it.
func (l *Ledger) number(it *rawItem, slot uint32, seen bool, index Index, now int64) (byPub uint32) {
	if !seen {
		if len(l.known) >= l.limits.Publishers {
			l.forgetSilentPublisher()
		}
		slot = l.publishers.take()
		l.known[it.publisher] = slot
	}
	p := l.publishers.edit(slot)
	if !seen {
		byPub = firstOfPublisher
	} else if l.cache.holds(p.newest) {
		byPub = uint32(index - p.newest)
	}
	*p = publisher{id: it.publisher, number: it.number, newest: index, time: now}
	return byPub
}

func (l *Ledger) retain(h *head, item []byte, it *rawItem, at Index, now int64) {
	l.keepNothing(h)
	if len(it.payload) > 0 {
		h.retained = &retained{item: append([]byte(nil), item...), seq: h.last, at: at, time: now}
		l.retainedBytes += h.retained.size()
		l.retainedCount++
	}
}

// keepNothing takes the retained message away, if there is one.
func (l *Ledger) keepNothing(h *head) {
	if h.retained != nil {
		l.retainedBytes -= h.retained.size()
		l.retainedCount--
		h.retained = nil
	}
}

func (r *retained) size() int64 {
	if r == nil {
		return 0
	}
	return int64(len(r.item))
}

// segmentBytes is the size of the cache's segments: large, but small beside the
// cache.
func (l *Ledger) segmentBytes() int {
	return int(min(max(l.limits.CacheBytes/64, 16<<10), 4<<20))
}

// epochOf derives the epoch of a subject whose first message is at index. The
// step is a bijection of index for a given cluster (the finalizer of
// splitmix64), so a cluster never gives an epoch twice.
func epochOf(c ClusterID, index Index) Epoch {
	z := uint64(c) + uint64(index)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	if z ^= z >> 31; z == 0 {
		z = 1
	}
	return Epoch(z)
}
