// libv4l2 and libv4lconvert as Swift sees them: https://linuxtv.org/docs/v4l2/, and what it can't see of <linux/videodev2.h>
// (macros with arguments, variadic functions).
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <libv4l-plugin.h>
#include <libv4l2.h>
#include <libv4lconvert.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static const unsigned long cv_QUERYCAP = VIDIOC_QUERYCAP;
static const unsigned long cv_ENUM_FMT = VIDIOC_ENUM_FMT;
static const unsigned long cv_TRY_FMT = VIDIOC_TRY_FMT;
static const unsigned long cv_G_FMT = VIDIOC_G_FMT;
static const unsigned long cv_S_FMT = VIDIOC_S_FMT;
static const unsigned long cv_S_PARM = VIDIOC_S_PARM;
static const unsigned long cv_REQBUFS = VIDIOC_REQBUFS;
static const unsigned long cv_QUERYBUF = VIDIOC_QUERYBUF;
static const unsigned long cv_QBUF = VIDIOC_QBUF;
static const unsigned long cv_DQBUF = VIDIOC_DQBUF;
static const unsigned long cv_STREAMON = VIDIOC_STREAMON;
static const unsigned long cv_STREAMOFF = VIDIOC_STREAMOFF;

static const unsigned int cv_CAP_CAPTURE = V4L2_CAP_VIDEO_CAPTURE;
static const unsigned int cv_CAP_OUTPUT = V4L2_CAP_VIDEO_OUTPUT;
static const unsigned int cv_CAP_READWRITE = V4L2_CAP_READWRITE;
static const unsigned int cv_CAP_STREAMING = V4L2_CAP_STREAMING;
static const unsigned int cv_CAP_DEVICE_CAPS = V4L2_CAP_DEVICE_CAPS;
static const unsigned int cv_YUYV = V4L2_PIX_FMT_YUYV;
static const unsigned int cv_MJPEG = V4L2_PIX_FMT_MJPEG;
static const unsigned int cv_RGB24 = V4L2_PIX_FMT_RGB24;
static const unsigned int cv_BUFFER_ERROR = V4L2_BUF_FLAG_ERROR;

static pthread_once_t cv_quiet_once = PTHREAD_ONCE_INIT;
static inline void cv_quiet(void) {
    // libv4l2 would write to standard error what the caller is told by errno.
    if (!v4l2_log_file) v4l2_log_file = fopen("/dev/null", "we");
}

/// open(2), then libv4l2 on top of it, without its own conversion: the descriptor, or -errno.
static inline int cv_open(const char *path) {
    pthread_once(&cv_quiet_once, cv_quiet);
    // O_NONBLOCK: a driver that waits must not hold the thread.
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return -errno;
    // What libv4l2 can't help (a loopback node without a producer) it leaves open, and its calls then are the kernel's.
    v4l2_fd_open(fd, V4L2_DISABLE_CONVERSION);
    return fd;
}

/// v4l2_ioctl, which is variadic.
static inline int cv_ioctl(int fd, unsigned long request, void *argument) {
    return v4l2_ioctl(fd, request, argument) < 0 ? -errno : 0;
}
