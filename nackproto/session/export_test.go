package session

// SetPace has the core do so many steps where a walk begins, and in a turn.
func (c *Core) SetPace(once, turn int) { c.pace = pace{once: once, turn: turn, flush: 8 * turn} }
