package nacknet

import (
	"slices"
	"time"

	"github.com/nackmq/nackmq/nackproto"
)

// A backoff says how long to wait before the next attempt: truncated exponential
// with full jitter. PROTOCOL.md §6.11.
type backoff struct {
	first, most time.Duration
	attempts    int // in a row, without a connection that lasted
}

// next counts an attempt and gives the time to wait before it; draw is in [0, 1).
func (b *backoff) next(draw float64) time.Duration {
	most := b.most
	if b.attempts < 30 && b.first<<b.attempts < most {
		most = b.first << b.attempts
	}
	b.attempts++
	return time.Duration(draw * float64(most))
}

func (b *backoff) reset() { b.attempts = 0 }

// servers are the servers that a client knows, and whose turn it is.
type servers struct {
	list []server
	turn int
	// configured is how many of list, from the front, the user named; the others
	// were named by servers.
	configured int
}

type server struct {
	address
	away   time.Time // stay away until then
	behind bool      // it said BEHIND in this round
}

// next gives the server whose turn it is, and until when to stay away from all.
// It passes over those that asked to be left alone, if others did not.
func (s *servers) next(now time.Time) (address, time.Time) {
	best := s.turn % len(s.list)
	for i := range s.list {
		j := (s.turn + i) % len(s.list)
		if !s.list[j].away.After(now) {
			best = j
			break
		}
		if s.list[j].away.Before(s.list[best].away) {
			best = j
		}
	}
	s.turn = best + 1
	return s.list[best].address, s.list[best].away
}

// stayAway notes that a is to be left alone until at.
func (s *servers) stayAway(a address, at time.Time) {
	for i := range s.list {
		if s.list[i].url == a.url {
			s.list[i].away = at
		}
	}
}

// sayBehind notes that a said BEHIND and reports whether all have by then; if so,
// the next round begins.
func (s *servers) sayBehind(a address) (all bool) {
	all = true
	for i := range s.list {
		k := &s.list[i]
		k.behind = k.behind || k.url == a.url
		all = all && k.behind
	}
	if all {
		s.forgetBehind()
	}
	return all
}

// forgetBehind begins a round.
func (s *servers) forgetBehind() {
	for i := range s.list {
		s.list[i].behind = false
	}
}

// learn takes the servers that a server named in the place of those that one
// named before, leaving out what cannot be read or would step down from TLS to
// plain text.
func (s *servers) learn(urls []string, secure bool) {
	if len(urls) == 0 {
		return
	}
	old := slices.Clone(s.list[s.configured:])
	s.list = s.list[:s.configured]
	for _, u := range urls {
		a, err := parseAddress(u)
		known := slices.ContainsFunc(s.list, func(k server) bool { return k.url == u })
		if err != nil || known || secure && !a.secure() || len(s.list) >= s.configured+nackproto.MaxServers {
			continue
		}
		s.list = append(s.list, server{address: a, behind: slices.ContainsFunc(old, func(k server) bool { return k.url == u && k.behind })})
	}
}
