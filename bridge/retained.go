package bridge

import "github.com/nackmq/nackmq/stream"

// A retainedJob is a subscription's right to the retained messages that stood at
// index at. Those that are newer come to it as ordinary messages.
type retainedJob struct {
	name string // of the subscription
	at   stream.Index
	next stream.SubjectID
	last bool             // next is the end
	page []stream.Subject // found, not yet sent
}

// maxPages is how many pages of subjects a turn looks through for all sessions, so
// that one which asks for much does not keep the others waiting.
const maxPages = 16

// runJobs sends retained messages as long as there is room; false: there is none.
// What it does not get done in this turn stays in s.jobs.
func (l *loop) runJobs(s *session) bool {
	for len(s.jobs) > 0 && s.cursor >= s.jobs[0].at {
		j := s.jobs[0]
		sub := s.subs[j.name]
		for len(j.page) > 0 && sub != nil {
			if !l.sendRetained(s, sub, j.at, j.page[0]) {
				return false
			}
			j.page = j.page[1:]
		}
		if j.last || sub == nil {
			s.jobs = s.jobs[1:]
			continue
		}
		if l.pages++; l.pages > maxPages {
			return true
		}
		j.page = nil
		next, more := l.b.cfg.Broker.Subjects(sub.filter, j.next, func(name stream.Subject, t stream.Top) bool {
			if t.Retained {
				j.page = append(j.page, name)
			}
			return true
		})
		j.next, j.last = next, !more
	}
	if len(s.jobs) == 0 {
		s.jobs = nil
	}
	return true
}

// sendRetained sends the retained message of name, if it is not the session's own
// and the subscription wants no such. One that is newer than at comes
// to the session as an ordinary message, unless that is of QoS 0 and the session
// was offline then.
func (l *loop) sendRetained(s *session, sub *subscription, at stream.Index, name stream.Subject) bool {
	m, ok := l.b.cfg.Broker.Retained(name)
	if !ok || sub.noLocal && m.Publisher == s.origin {
		return true
	}
	d := sub.delivery(&m)
	d.retain, d.subject = true, name
	if m.Index > at && (m.Index > s.online || d.qos > 0) {
		return true
	}
	if l.msg.reset(m, l.now); l.msg.expired {
		return true
	}
	return l.send(s, &l.msg, d)
}

// until gives the index up to which the session may read: that of its next
// retained job, which comes before what is newer.
func (s *session) until() stream.Index {
	if len(s.jobs) > 0 {
		return s.jobs[0].at
	}
	return ^stream.Index(0)
}
