package stream

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrSnapshot is what ReadSnapshot wraps when the bytes are no snapshot, or one of a
// newer version.
var ErrSnapshot = errors.New("unreadable snapshot")

// A snapshot's layout: magic, version u8, then uvarints and length-prefixed bytes
// in the order of View.write. It has no checksum: who keeps it or sends it checks
// its bytes, and does so before it hands them out.
const (
	snapshotMagic   = "NMQsnap"
	snapshotVersion = 1
)

// A View is a ledger without its cache as it was when the view was taken. The
// ledger goes on meanwhile; the view may be read by one other goroutine.
type View struct {
	cluster    ClusterID
	limits     Limits
	applied    uint64
	time       int64
	head       Index
	heads      pages[head]
	publishers pages[publisher]
	sessions   pages[Session]
	fence      Fence
	origins    []Origin
	sweepHeads uint32
	sweepKnown uint32
}

// View takes a view. It copies a pointer for every 256 subjects and publishers;
// what Apply changes afterwards it copies page by page, once for each view.
func (l *Ledger) View() *View {
	v := &View{
		cluster: l.cluster, limits: l.limits, applied: l.applied, time: l.time, head: l.cache.head,
		heads: l.heads.view(), publishers: l.publishers.view(),
		sessions: l.sessions.view(), fence: l.fence,
		sweepHeads: l.sweepHeads, sweepKnown: l.sweepKnown,
	}
	for _, o := range l.origins {
		v.origins = append(v.origins, o)
	}
	slices.SortFunc(v.origins, func(a, b Origin) int { return cmp.Compare(a.Node, b.Node) })
	return v
}

// Applied gives the number of the last entry in the view.
func (v *View) Applied() uint64 { return v.applied }

// WriteTo writes the snapshot. Equal ledgers give equal bytes.
func (v *View) WriteTo(w io.Writer) (int64, error) {
	s := &snapshotWriter{w: bufio.NewWriterSize(w, 64<<10)}
	v.write(s)
	if s.err == nil {
		s.err = s.w.Flush()
	}
	return s.n - int64(s.w.Buffered()), s.err
}

func (v *View) write(s *snapshotWriter) {
	s.raw([]byte(snapshotMagic))
	s.raw([]byte{snapshotVersion})
	s.num(uint64(v.cluster))
	s.num(limitWords)
	for _, w := range v.limits.words() {
		s.num(w)
	}
	s.num(v.applied)
	s.num(uint64(v.time))
	s.num(uint64(v.head))
	s.num(uint64(len(v.origins)))
	for _, o := range v.origins {
		s.num(uint64(o.Node))
		s.num(uint64(o.Life))
		s.num(o.Batch)
	}
	s.num(uint64(v.sweepHeads))
	writePages(s, &v.heads, func(h *head) bool { return h.name != "" }, func(h *head) {
		s.str([]byte(h.name))
		s.num(uint64(h.epoch))
		s.num(uint64(h.last))
		s.num(uint64(h.newest))
		s.num(uint64(h.time))
		if h.retained == nil {
			s.str(nil)
			return
		}
		s.str(h.retained.item)
		s.num(uint64(h.retained.seq))
		s.num(uint64(h.retained.at))
		s.num(uint64(h.retained.time))
	})
	s.num(uint64(v.sweepKnown))
	writePages(s, &v.publishers, func(p *publisher) bool { return p.id != 0 }, func(p *publisher) {
		s.num(uint64(p.id))
		s.num(p.number)
		s.num(uint64(p.newest))
		s.num(uint64(p.time))
	})
	s.num(uint64(v.fence))
	writePages(s, &v.sessions, func(e *Session) bool { return e.ID != "" }, s.session)
}

// writePages writes how many slots there are, the free ones in the order in which
// they came back, and the used ones.
func writePages[T any](s *snapshotWriter, p *pages[T], used func(*T) bool, write func(*T)) {
	s.num(uint64(p.next))
	s.num(uint64(len(p.free)))
	for _, i := range p.free {
		s.num(uint64(i))
	}
	for i := uint32(0); i < p.next && s.err == nil; i++ {
		if t := p.at(i); used(t) {
			write(t)
		}
	}
}

type snapshotWriter struct {
	w   *bufio.Writer
	n   int64 // bytes given to w
	err error
	buf [binary.MaxVarintLen64]byte
}

func (s *snapshotWriter) raw(b []byte) {
	if s.err == nil {
		var n int
		n, s.err = s.w.Write(b)
		s.n += int64(n)
	}
}
func (s *snapshotWriter) num(v uint64) { s.raw(s.buf[:binary.PutUvarint(s.buf[:], v)]) }
func (s *snapshotWriter) str(b []byte) { s.num(uint64(len(b))); s.raw(b) }

// ReadSnapshot gives the ledger that a snapshot was taken of, with an empty
// cache. It reads exactly the snapshot's bytes if r is a *bufio.Reader. The
// error wraps ErrSnapshot unless reading itself failed.
func ReadSnapshot(r io.Reader) (*Ledger, error) {
	br, ok := r.(*bufio.Reader)
	if !ok {
		br = bufio.NewReaderSize(r, 64<<10)
	}
	s := &snapshotReader{r: br}
	l := s.ledger()
	if errors.Is(s.err, io.EOF) || errors.Is(s.err, io.ErrUnexpectedEOF) {
		s.err = fmt.Errorf("%w: cut short", ErrSnapshot)
	}
	if s.err != nil {
		return nil, fmt.Errorf("stream: %w", s.err)
	}
	return l, nil
}

func (s *snapshotReader) ledger() *Ledger {
	var magic [len(snapshotMagic) + 1]byte
	s.raw(magic[:])
	if s.err != nil {
		return nil
	}
	if string(magic[:len(snapshotMagic)]) != snapshotMagic {
		s.fail("it is not a snapshot")
	} else if magic[len(snapshotMagic)] != snapshotVersion {
		s.fail("version %d, this program reads %d", magic[len(snapshotMagic)], snapshotVersion)
	}
	l := NewLedger(ClusterID(s.num()))
	var err error
	if l.limits, err = limitsOf(s.num(), s.num); err != nil {
		s.fail("%v", err)
	}
	l.applied, l.time = s.num(), int64(s.num())
	l.cache.head = Index(s.num())
	l.cache.tail = l.cache.head
	for n := s.num(); n > 0 && s.err == nil; n-- {
		o := Origin{Node: NodeID(s.num()), Life: uint32(s.num()), Batch: s.num()}
		l.origins[o.Node] = o
	}
	l.sweepHeads = uint32(s.num())
	readPages(s, &l.heads, func(i uint32, h *head) {
		h.name = Subject(s.str(MaxSubject))
		h.epoch, h.last = Epoch(s.num()), Seq(s.num())
		h.newest, h.time = Index(s.num()), int64(s.num())
		if item := s.str(MaxItemBytes); len(item) > 0 {
			if _, err := parseItem(item); err != nil {
				s.fail("a retained message is unreadable")
			}
			h.retained = &retained{item: item, seq: Seq(s.num()), at: Index(s.num()), time: int64(s.num())}
			l.retainedBytes += h.retained.size()
			l.retainedCount++
		}
		if len(h.name) < 2 || h.newest > l.cache.head {
			s.fail("a subject without a name or a place")
		}
		l.ids[h.name] = i
		l.subjectBytes += int64(len(h.name))
	})
	if len(l.ids) != l.heads.used() {
		s.fail("a subject twice")
	}
	l.sweepKnown = uint32(s.num())
	readPages(s, &l.publishers, func(i uint32, p *publisher) {
		p.id, p.number = PublisherID(s.num()), s.num()
		p.newest, p.time = Index(s.num()), int64(s.num())
		if p.id == 0 || p.newest > l.cache.head {
			s.fail("a publisher without a name or a place")
		}
		l.known[p.id] = i
	})
	if len(l.known) != l.publishers.used() {
		s.fail("a publisher twice")
	}
	l.fence = Fence(s.num())
	readPages(s, &l.sessions, func(i uint32, e *Session) {
		s.session(e)
		l.sessionIDs[e.ID] = i
		l.sessionBytes += e.size()
		l.due.set(i, e.due())
	})
	if len(l.sessionIDs) != l.sessions.used() {
		s.fail("a session twice")
	}
	return l
}

func readPages[T any](s *snapshotReader, p *pages[T], read func(uint32, *T)) {
	next, free := s.num(), s.num()
	if free > next || next > 1<<31 {
		s.fail("%d free slots of %d", free, next)
	}
	isFree := make(map[uint32]bool)
	for ; free > 0 && s.err == nil; free-- {
		i := s.num()
		if i >= next || isFree[uint32(i)] {
			s.fail("free slot %d of %d", i, next)
		}
		p.free = append(p.free, uint32(i))
		isFree[uint32(i)] = true
	}
	for i := uint32(0); uint64(i) < next && s.err == nil; i++ {
		if int(i) == len(p.list)*pageSlots {
			p.list = append(p.list, &page[T]{age: p.age})
		}
		p.next = i + 1
		if !isFree[i] {
			read(i, p.edit(i))
		}
	}
}

type snapshotReader struct {
	r   *bufio.Reader
	err error
}

func (s *snapshotReader) fail(format string, a ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: "+format, append([]any{ErrSnapshot}, a...)...)
	}
}

func (s *snapshotReader) raw(b []byte) {
	if s.err == nil {
		_, s.err = io.ReadFull(s.r, b)
	}
}

func (s *snapshotReader) num() uint64 {
	if s.err != nil {
		return 0
	}
	b, err := s.r.Peek(binary.MaxVarintLen64)
	v, n := binary.Uvarint(b)
	switch {
	case n > 0:
		_, s.err = s.r.Discard(n)
	case n < 0 || err == nil:
		s.fail("a number out of range")
	default:
		s.err = err
	}
	return v
}

// str reads bytes in pieces, so that a damaged length costs no more memory than
// there are bytes.
func (s *snapshotReader) str(most uint64) []byte {
	n := s.num()
	if n > most {
		s.fail("%d bytes where at most %d can be", n, most)
	}
	var b []byte
	for s.err == nil && uint64(len(b)) < n {
		lo := len(b)
		b = append(b, make([]byte, min(n-uint64(lo), 64<<10))...)
		s.raw(b[lo:])
	}
	return b
}
