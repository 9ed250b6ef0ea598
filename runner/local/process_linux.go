package local

import "syscall"

// dieWithParent ends the command when modyard itself is killed.
func dieWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
