package bridge

import "github.com/nackmq/nackmq/stream"

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
