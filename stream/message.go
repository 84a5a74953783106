package stream

// Flags travel with a publication from end to end.
type Flags uint8

const (
	// Retain asks that the message be kept as the subject's retained message;
	// with an empty payload it asks that there be none.
	Retain Flags = 1 << iota
	// qosLow and qosHigh hold the quality of service that an MQTT publisher
	// asked for. The core carries them and does not read them.
	qosLow
	qosHigh
)

// WithQoS gives f with MQTT quality of service q; there is none above 2.
func (f Flags) WithQoS(q byte) Flags { return f&^(qosLow|qosHigh) | Flags(min(q, 2))<<1 }

// QoS gives the MQTT quality of service the publisher asked for. What came in by
// the native protocol has 1: it was confirmed, and may be repeated.
func (f Flags) QoS() byte { return byte(f>>1) & 3 }

// A Publication is a message without a place.
type Publication struct {
	Subject Subject
	Payload []byte
	// Props is what the publication says of itself beside its payload, as
	// AppendProps encodes it for every door; the core does not read it.
	Props []byte
	// Expiry is the message's life in seconds from Message.Time; 0 is for ever.
	Expiry uint32
	Flags  Flags
}

// A PublisherID names one incarnation of a publisher. Zero is nobody: the
// publication is not deduplicated and has no origin.
type PublisherID uint64

// A SubjectID is a small number for a subject, given by the ledger and valid on
// this member only. It is used again after its subject was forgotten, so the
// pair of SubjectID and Epoch is what names a history.
type SubjectID uint32

// A Message is a publication with its place. It is immutable and shared: nobody
// writes to its slices (S9).
type Message struct {
	Publication
	Position  Position
	Index     Index
	Time      int64 // when the leader took the entry in, Unix milliseconds, never decreasing along the log
	Publisher PublisherID
	ID        SubjectID
}

// ExpiredAt reports whether the message's life is over at now, Unix
// milliseconds on the log's clock.
func (m *Message) ExpiredAt(now int64) bool {
	return m.Expiry != 0 && now >= m.Time+int64(m.Expiry)*1000
}
