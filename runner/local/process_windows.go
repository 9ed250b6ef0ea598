package local

import "os/exec"

var programEndings = []string{"", ".exe", ".com", ".bat", ".cmd"}

// Windows has no process groups; the command alone is ended.
func group(*exec.Cmd) {}

func endGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }

func killGroup(*exec.Cmd) {}

func signalOf(*exec.ExitError) string { return "" }
