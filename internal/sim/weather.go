package sim

import (
	"time"
)

// weather draws what fails and when, until it is fine.
func (w *world) weather() {
	every := time.Duration(1+w.rnd.IntN(40)) * 100 * time.Millisecond
	var next func()
	next = func() {
		if w.fine {
			return
		}
		w.misfortune(w.nodes[w.rnd.IntN(len(w.nodes))])
		w.after(w.upTo(2*every), "weather", next)
	}
	w.after(w.upTo(2*every), "weather", next)
}

func (w *world) misfortune(n *node) {
	d := &n.disk
	if len(w.nodes) > 1 && w.oneIn(3) {
		w.net.part()
		return
	}
	switch w.rnd.IntN(12) {
	case 0:
		n.stopAt("killed", false)
	case 1:
		n.stopAt("power lost", true)
	case 2, 3:
		d.arm(crashPower, 1+w.rnd.IntN(12))
	case 4:
		d.arm(crashKill, 1+w.rnd.IntN(12))
	case 5:
		d.arm(failSync, 1+w.rnd.IntN(6))
	case 6:
		d.arm(shortWrite, 1+w.rnd.IntN(8))
	case 7:
		d.fill()
		w.after(w.upTo(3*time.Second), "space is made", d.makeRoom)
	case 8:
		d.slow = time.Duration(1+w.rnd.IntN(30)) * 100 * time.Millisecond
		w.tracef("the disk takes %v", d.slow)
		w.after(w.upTo(5*time.Second), "the disk is fast again", func() { d.slow = 0 })
	case 9:
		// Not for more than three days in all: a publisher that the log has not heard
		// of for seven is forgotten, as it is told (stream.Limits.SubjectAge).
		days := 1 - 2*w.rnd.IntN(2)
		if w.days += days; w.days < -3 || w.days > 3 {
			w.days, days = w.days-2*days, -days
		}
		w.wall += int64(24*time.Hour/time.Millisecond) * int64(days)
		w.tracef("the wall clock jumps by a day")
	case 10:
		w.wall += w.rnd.Int64N(4000) - 2000
	case 11:
		// fair
	}
}

// stopAt ends a process between two events.
func (n *node) stopAt(why string, power bool) {
	if n.p == nil {
		return
	}
	n.w.tracef("%s", why)
	n.crash(power)
	n.restartSoon()
}
