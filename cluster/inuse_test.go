package cluster

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	m := open(t, Config{DataDir: dir})
	defer m.Close()
	_, err := Open(Config{DataDir: dir})
	if want := fmt.Sprintf("in use by process %d", os.Getpid()); !errors.Is(err, ErrDataDir) || !strings.Contains(err.Error(), want) {
		t.Errorf("a second member in the same directory: %v, want %q in it", err, want)
	}
}
