package nackproto

import "time"

// Limits that hold for everybody. PROTOCOL.md §9.
const (
	Magic = "NACK"

	// MinVersion and MaxVersion are the versions that this package speaks.
	MinVersion = 1
	MaxVersion = 1

	MaxText      = 255  // bytes of a name, a reason, a server's address
	MaxToken     = 8192 // bytes of a token
	MaxServers   = 32   // servers in WELCOME and DRAIN
	MaxAliasName = 255  // bytes of a name that PUBLISH binds to an alias
	MaxLevels    = 200  // segments of a filter with a wildcard: each costs a server a node of its tree

	// HelloLimit is the frame limit of both ends until the server has sent
	// WELCOME.
	HelloLimit = 16 << 10
)

// What a server announces in WELCOME unless it is configured otherwise.
const (
	DefaultMaxFrame         = 1 << 20
	DefaultMaxUnconfirmed   = 4096
	DefaultMaxSubscriptions = 256
	DefaultMaxAliases       = 256
	DefaultHeartbeat        = 30 * time.Second
)

// What both ends hold to without being told.
const (
	// HelloTimeout is how long a client waits for WELCOME, and a server for HELLO
	// unless it is configured otherwise.
	HelloTimeout = 10 * time.Second
	// MaxHeartbeatTops is how many tops a server puts into one HEARTBEAT.
	MaxHeartbeatTops = 256
)

// Silence is how long a client hears nothing before it goes to another server,
// given the heartbeat interval of WELCOME. PROTOCOL.md §6.8.
func Silence(heartbeat time.Duration) time.Duration { return 2*heartbeat + heartbeat/2 }
