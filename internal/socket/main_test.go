package socket

import (
	"os"
	"testing"

	"github.com/nackmq/nackmq/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
