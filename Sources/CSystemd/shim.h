// libsystemd as Swift sees it: https://www.freedesktop.org/software/systemd/man/latest/sd-daemon.html
#pragma once
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
