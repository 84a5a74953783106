package cluster

import (
	"fmt"

	"github.com/rs/zerolog"
)

// raftLog hands what raft says to the log. Raft tells at info, some of it for every
// write, what neither an operator nor a developer needs to know every day.
type raftLog struct{ log zerolog.Logger }

func (l raftLog) Debug(v ...any)            { l.log.Trace().Msg(fmt.Sprint(v...)) }
func (l raftLog) Debugf(f string, v ...any) { l.log.Trace().Msgf(f, v...) }
func (l raftLog) Info(v ...any)             { l.log.Trace().Msg(fmt.Sprint(v...)) }
func (l raftLog) Infof(f string, v ...any)  { l.log.Trace().Msgf(f, v...) }
func (l raftLog) Warning(v ...any)          { l.log.Warn().Msg(fmt.Sprint(v...)) }
func (l raftLog) Warningf(f string, v ...any) {
	l.log.Warn().Msgf(f, v...)
}
func (l raftLog) Error(v ...any)            { l.log.Error().Msg(fmt.Sprint(v...)) }
func (l raftLog) Errorf(f string, v ...any) { l.log.Error().Msgf(f, v...) }

// Raft calls these when an invariant of its own is broken, and must not go on.
func (l raftLog) Fatal(v ...any)            { panic("raft: " + fmt.Sprint(v...)) }
func (l raftLog) Fatalf(f string, v ...any) { panic("raft: " + fmt.Sprintf(f, v...)) }
func (l raftLog) Panic(v ...any)            { panic("raft: " + fmt.Sprint(v...)) }
func (l raftLog) Panicf(f string, v ...any) { panic("raft: " + fmt.Sprintf(f, v...)) }
