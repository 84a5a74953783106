package nacknet

import (
	"os"
	"testing"

	"github.com/nackmq/nackmq/internal/leak"
)

func TestMain(m *testing.M) {
	beReceivers()
	os.Exit(leak.Run(m))
}
