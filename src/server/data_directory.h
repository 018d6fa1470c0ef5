/*
 * data_directory.h - whether the directory of the data can be used, before anything is opened
 */
#ifndef SERVER_DATA_DIRECTORY_H
#define SERVER_DATA_DIRECTORY_H

#include "amqp/base.h"

/**
 * data_directory_prepare() - make the directory if its parent exists, and look whether this process
 * may use it and what a former run left in it
 * @error_text: on failure receives a sentence for the operator, which says what to do
 *
 * Return: 0; -errno: nothing has been changed.
 */
int data_directory_prepare(const char *path, char *error_text, size_t error_text_size);

#endif
