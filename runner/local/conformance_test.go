package local_test

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/modyard/modyard/runner"
	"github.com/modyard/modyard/runner/conformance"
	"github.com/modyard/modyard/runner/local"
)

func TestConformance(t *testing.T) {
	for _, program := range []string{"sh", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("skipped the conformance suite: its steps need %s in PATH", program)
		}
	}
	conformance.Run(t, os.DirFS("../../testdata/conformance"), func(*testing.T) runner.Compute {
		return &local.Compute{Path: os.Getenv("PATH"), Grace: 200 * time.Millisecond}
	})
}
