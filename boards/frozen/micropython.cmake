# A firmware that holds the agent, for ports that are built by CMake: USER_C_MODULES names this file, TIDEGATE_HELD the folder
# that frozen.py laid out.

add_library(tidegate_frozen INTERFACE)
target_sources(tidegate_frozen INTERFACE ${CMAKE_CURRENT_LIST_DIR}/frozen.c ${CMAKE_CURRENT_LIST_DIR}/module.c)
target_include_directories(tidegate_frozen INTERFACE ${CMAKE_CURRENT_LIST_DIR} ${TIDEGATE_HELD})
target_link_options(tidegate_frozen INTERFACE -Wl,--wrap=mp_raw_code_load_file)
target_link_libraries(usermod INTERFACE tidegate_frozen)
