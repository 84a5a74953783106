package main

import (
	"sync"
	"time"
)

// A watchdog calls bark when a question stays unanswered for too long while no
// other answer comes either.
type watchdog struct {
	mu      sync.Mutex
	timer   *time.Timer
	within  time.Duration
	waiting int
}

func newWatchdog(within time.Duration, bark func()) *watchdog {
	w := &watchdog{within: within}
	w.timer = time.AfterFunc(within, bark)
	w.timer.Stop()
	return w
}

func (w *watchdog) asked() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting++; w.waiting == 1 {
		w.timer.Reset(w.within)
	}
}

func (w *watchdog) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting--; w.waiting == 0 {
		w.timer.Stop()
	} else {
		w.timer.Reset(w.within)
	}
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
}
