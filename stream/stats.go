package stream

// Stats is what an operator asks of a ledger.
type Stats struct {
	Applied       uint64 // number of the newest entry
	Head, Tail    Index  // newest message; the one before the oldest in the cache
	Subjects      int
	SubjectBytes  int64 // of their names
	Publishers    int
	CacheBytes    int64
	RetainedBytes int64
	Retained      int // messages
	Sessions      int
	SessionBytes  int64
	WillsRefused  int64 // since the member started: a limit of the log stood against them
}

// Stats gives them.
func (l *Ledger) Stats() Stats {
	return Stats{
		Applied: l.applied, Head: l.cache.head, Tail: l.cache.tail,
		Subjects: len(l.ids), SubjectBytes: l.subjectBytes, Publishers: len(l.known),
		CacheBytes: l.cache.bytes, RetainedBytes: l.retainedBytes, Retained: l.retainedCount,
		Sessions: len(l.sessionIDs), SessionBytes: l.sessionBytes, WillsRefused: l.willsRefused,
	}
}
