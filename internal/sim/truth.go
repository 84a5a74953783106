package sim

import (
	"bytes"
	"hash/crc32"
	"slices"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/cluster/wal"
	"github.com/nackmq/nackmq/stream"
)

// truth is what has become known to anybody, and so must stay as it is.
type truth struct {
	w       *world
	shadow  *stream.Ledger // applies every entry once and never stops
	entries map[uint64]*agreed
	synced  map[*node]map[uint64]uint64 // of an entry's index, the sum of what is durable
	head    stream.Index                // the newest message that anybody has seen

	at     map[stream.Index]uint64 // digest of the message there
	places map[place]uint64        // … and by subject and position
	seqs   map[history]stream.Seq  // the newest seq
	index  map[pubKey]stream.Index // where a publication is
	time   int64                   // of the newest message
	acks   map[pubKey]stream.Place // what was confirmed
	digest uint64
}

type place struct {
	subject stream.Subject
	at      stream.Position
}

type history struct {
	subject stream.Subject
	epoch   stream.Epoch
}

// agreed is an entry that some member has applied.
type agreed struct {
	sum      uint64
	accepted bool
	places   []stream.Place
}

func newTruth(w *world) *truth {
	return &truth{
		w: w, shadow: stream.NewLedger(clusterID),
		entries: make(map[uint64]*agreed), synced: make(map[*node]map[uint64]uint64),
		at: make(map[stream.Index]uint64), places: make(map[place]uint64), seqs: make(map[history]stream.Seq),
		index: make(map[pubKey]stream.Index), acks: make(map[pubKey]stream.Place),
	}
}

func sum(data []byte) uint64 {
	return uint64(crc32.Checksum(data, sums))
}

var sums = crc32.MakeTable(crc32.Castagnoli)

// durable notes what a member has synced.
func (t *truth) durable(n *node, es []wal.Entry) {
	m := t.synced[n]
	if m == nil {
		m = make(map[uint64]uint64)
		t.synced[n] = m
	}
	for i := range es {
		m[es[i].Index] = sum(es[i].Data)
	}
}

// machine is a broker that is watched.
type machine struct {
	*broker.Broker
	p *process
}

func (m *machine) Floor() uint64 {
	if m.p.w.cfg.Bug == CompactEarly {
		return m.Broker.Applied()
	}
	return m.Broker.Floor()
}

func (m *machine) Apply(e stream.Entry) (stream.Applied, error) {
	t := m.p.w.truth
	t.mayApply(m.p, e)
	a, err := m.Broker.Apply(e)
	if err != nil {
		m.p.w.failf("entry %d cannot be applied: %v", e.Number, err)
	}
	t.applied(m.p, e, a)
	t.clock(m.p, a)
	return a, nil
}

// mayApply: what is applied was synced by a majority, and is what others have
// applied at that number (P2).
func (t *truth) mayApply(p *process, e stream.Entry) {
	w := t.w
	have := 0
	for _, n := range w.nodes {
		if s, ok := t.synced[n][e.Number]; ok && s == sum(e.Data) {
			have++
		}
	}
	if 2*have <= len(w.nodes) {
		w.failf("node %v applies entry %d, which %d of %d members have synced", p.n.id, e.Number, have, len(w.nodes))
	}
	if known := t.entries[e.Number]; known != nil && known.sum != sum(e.Data) {
		w.failf("node %v applies another entry %d than was applied before", p.n.id, e.Number)
	}
}

// applied: every member gets the same places (S1), now and after a restart.
func (t *truth) applied(p *process, e stream.Entry, a stream.Applied) {
	w := t.w
	known := t.entries[e.Number]
	if known == nil {
		if e.Number != t.shadow.Applied()+1 {
			w.failf("node %v applies entry %d first, before entry %d", p.n.id, e.Number, t.shadow.Applied()+1)
		}
		b, err := t.shadow.Apply(e)
		if err != nil {
			w.failf("entry %d cannot be applied: %v", e.Number, err)
		}
		known = &agreed{sum(e.Data), b.Accepted, slices.Clone(b.Places)}
		t.entries[e.Number] = known
		w.res.Entries++
	}
	if a.Accepted != known.accepted || len(a.Places) != len(known.places) {
		w.failf("node %v: entry %d was accepted: %v with %d places, before: %v with %d", p.n.id, e.Number, a.Accepted, len(a.Places), known.accepted, len(known.places))
	}
	for i, at := range a.Places {
		was := known.places[i]
		if at.Outcome != was.Outcome || at.Outcome == stream.Placed && at != was {
			w.failf("node %v: item %d of entry %d got %+v, before: %+v", p.n.id, i, e.Number, at, was)
		}
	}
}

// clock: a leader's time begins at the wall clock's or the last entry's, and runs at
// most a tenth faster than it does, whatever the wall clock does meanwhile.
func (t *truth) clock(p *process, a stream.Applied) {
	if len(t.w.nodes) > 1 || a.Origin.Life != p.n.life || len(a.Places) == 0 {
		return
	}
	now, gone := p.broker.Time(), (t.w.now - p.led).Milliseconds()
	if least, most := p.since, p.since+gone+gone/10+2; now < least || now > most {
		t.w.failf("the log's clock is at %d, %d ms after a start at %d", now, gone, p.since)
	}
}

// read: a place is given once, seqs have no hole, a publication has one place.
func (t *truth) read(m *stream.Message) {
	w := t.w
	d := digest(m)
	if was, ok := t.at[m.Index]; ok {
		if was != d {
			w.failf("index %d is now %s %v, and was another message", m.Index, m.Subject, m.Position)
		}
		return
	}
	if m.Index != t.head+1 {
		w.failf("index %d was never read, and now %d was", t.head+1, m.Index)
	}
	t.head, t.at[m.Index] = m.Index, d
	at := place{m.Subject, m.Position}
	if _, ok := t.places[at]; ok {
		w.failf("%s %v is given twice, now to index %d", m.Subject, m.Position, m.Index)
	}
	t.places[at] = d
	h := history{m.Subject, m.Position.Epoch}
	if m.Position.Seq != t.seqs[h]+1 {
		w.failf("%s has seq %d after %d in one epoch", m.Subject, m.Position.Seq, t.seqs[h])
	}
	t.seqs[h] = m.Position.Seq
	k := key(m.Payload)
	if was, ok := t.index[k]; ok {
		w.failf("publication %d of %d is at index %d and at %d", k.number, k.publisher, was, m.Index)
	}
	t.index[k] = m.Index
	if m.Time < t.time {
		w.failf("time goes back from %d to %d at index %d", t.time, m.Time, m.Index)
	}
	t.time = m.Time
	w.res.Messages++
}

// confirmed: what was confirmed is there, with the place that was told.
func (t *truth) confirmed(p *publisher, number uint64, at stream.Place) {
	w := t.w
	k := pubKey{p.id, number}
	if at.Outcome == stream.Repeated && at.Index == 0 {
		// The cache no longer knows the first; but there was one.
		if _, ok := t.index[k]; !ok {
			w.failf("publication %d of %d was answered as a repetition and never had a place", number, p.id)
		}
		return
	}
	if was, ok := t.acks[k]; ok && (was.Position != at.Position || was.Index != at.Index) {
		w.failf("publication %d of %d was confirmed at %v and at %v", number, p.id, was.Position, at.Position)
	}
	t.acks[k] = at
	t.digest = t.digest*1099511628211 ^ uint64(at.Index)<<20 ^ uint64(w.now)
}

// checkWhole: a ledger that has caught up is, byte by byte, the one that never
// stopped, and nothing that was seen is missing.
func (p *process) checkWhole() {
	t, w := p.w.truth, p.w
	p.look()
	// One of several may have to hear of the newest first.
	if h := p.broker.Head(); h < t.head && len(w.nodes) == 1 {
		w.failf("node %v has %d messages after a restart, but index %d was read before", p.n.id, h, t.head)
	}
	if p.broker.Applied() != t.shadow.Applied() {
		return
	}
	if got, want := p.broker.Tail(), t.shadow.Tail(); got != want {
		w.failf("node %v: the cache begins behind index %d after a restart, and behind %d on a member that never stopped", p.n.id, got, want)
	}
	var got, want bytes.Buffer
	_, _ = p.broker.View().WriteTo(&got)
	_, _ = t.shadow.View().WriteTo(&want)
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		w.failf("node %v: the ledger after a restart is not the one that never stopped (%d and %d bytes)", p.n.id, got.Len(), want.Len())
	}
	if got, want := lasting(p.broker.Stats()), lasting(t.shadow.Stats()); got != want {
		w.failf("node %v: after a restart %+v, on a member that never stopped %+v", p.n.id, got, want)
	}
	buf := make([]stream.Message, 0, 64)
	for after := p.broker.Tail(); ; {
		ms, err := p.broker.ReadLog(after, buf)
		if err != nil {
			w.failf("node %v: %v", p.n.id, err)
		}
		if len(ms) == 0 {
			return
		}
		for i := range ms {
			if t.at[ms[i].Index] != digest(&ms[i]) {
				w.failf("node %v: index %d holds another message after a restart", p.n.id, ms[i].Index)
			}
		}
		after = ms[len(ms)-1].Index
	}
}

// lasting gives st without what is counted since a start.
func lasting(st stream.Stats) stream.Stats {
	st.WillsRefused = 0
	return st
}

// finish: everything that was confirmed is at its place.
func (t *truth) finish() {
	for _, p := range t.w.publishers {
		for n := uint64(1); n <= p.acked; n++ {
			k := pubKey{p.id, n}
			at, ok := t.acks[k]
			if i, read := t.index[k]; !read || ok && i != at.Index {
				t.w.failf("publication %d of %d was confirmed at index %d and is at %d", n, p.id, at.Index, i)
			}
		}
	}
	for _, c := range t.w.clients {
		for _, k := range c.said {
			if _, read := t.index[k]; !read {
				t.w.failf("%s: publication %d was confirmed and is nowhere", c.name, k.number)
			}
		}
	}
	t.w.res.Digest = t.digest
}
