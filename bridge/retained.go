package bridge

import "github.com/nackmq/nackmq/stream"

// A retainedJob is a subscription's right to the retained messages that stood at
// index at. Those that are newer come to it as ordinary messages.
type retainedJob struct {
	sub  *subscription
	at   stream.Index
	next stream.SubjectID
	last bool             // next is the end
	page []stream.Subject // found, not yet sent
}

// runJobs sends retained messages as long as there is room; false: there is none.
// A page of subjects is looked at in one turn.
func (l *loop) runJobs(s *session) bool {
	for len(s.jobs) > 0 && s.cursor >= s.jobs[0].at {
		j := s.jobs[0]
		if s.subs[j.sub.name] != j.sub {
			s.jobs = s.jobs[1:]
			continue
		}
		for len(j.page) > 0 {
			if !l.sendRetained(s, j, j.page[0]) {
				return false
			}
			j.page = j.page[1:]
		}
		if j.last {
			s.jobs = s.jobs[1:]
			continue
		}
		j.page = nil
		next, more := l.b.cfg.Broker.Subjects(j.sub.filter, j.next, func(name stream.Subject, t stream.Top) bool {
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

func (l *loop) sendRetained(s *session, j *retainedJob, name stream.Subject) bool {
	m, ok := l.b.cfg.Broker.Retained(name)
	if !ok || m.Index > j.at {
		return true
	}
	if l.msg.reset(m, l.now); l.msg.expired {
		return true
	}
	d := j.sub.delivery(&m)
	d.retain, d.kept = true, true
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
